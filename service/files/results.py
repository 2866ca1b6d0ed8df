"""Opens the store that RESULTS_URL names."""

import os
from urllib.parse import unquote, urlsplit

from service.ports.copies import CopyStorage

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")


def open_results(url: str, max_bytes: int) -> CopyStorage:
    """Connects to nothing yet: the service starts without the store. Raises ValueError with a sentence."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        from service.files.result_folder import ResultFolder

        return ResultFolder(unquote(parts.path))
    # Imported here: it takes 20 MB of memory that most installations do not need.
    from service.files.object_store import ObjectStore

    plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    # An endpoint without TLS is on this machine or network: readers may not reach it, so we serve the bytes.
    return ObjectStore(url, max_bytes, links=not plain, allow_http=plain)
