"""Which address a page shows a file at."""

from service.core.result import PENDING, Copy, File, Output
from service.core.task import Status
from service.web.page.results import files_of
from tests.store.parts import a_task

URL, OURS = "https://files.example.com/0.png", "https://bridge.example.com/results/x/0.png"
EXPIRES = "2026-02-03T00:00:00.000Z"


def shown(copy: Copy | None) -> tuple[str, str | None]:
    output = Output((File(URL, "image", "image_urls.0", EXPIRES, copy),))
    [file] = files_of(a_task(status=Status.COMPLETED, output=output))
    return file.url, file.expires_at


def test_a_stored_copy_is_shown_in_place_of_the_providers_file_which_will_be_deleted() -> None:
    assert shown(Copy("stored", OURS, 7, "image/png", "ab" * 32)) == (OURS, None)


def test_until_there_is_a_copy_the_providers_file_is_shown() -> None:
    for copy in (None, PENDING, Copy("failed", error="The file is gone.")):
        assert shown(copy) == (URL, EXPIRES)
