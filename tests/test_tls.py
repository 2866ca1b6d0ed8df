"""Whom the service trusts when it calls providers, subscribers and file hosts."""

import ssl
from pathlib import Path

import pytest

from service.net.tls import trusted


def test_every_client_shares_one_context_that_verifies() -> None:
    context = trusted()
    assert context is trusted()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_machine_without_authorities_of_its_own_still_trusts_the_published_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert ssl.create_default_context().cert_store_stats()["x509_ca"] == 0
    assert trusted.__wrapped__().cert_store_stats()["x509_ca"] > 50
