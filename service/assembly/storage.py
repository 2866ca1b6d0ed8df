"""Where files are kept: pictures that came inline, and copies of results."""

from dataclasses import dataclass

from service.environment import SettingsError, WrongSetting
from service.files.folder import MediaFolder
from service.files.results import open_results
from service.ports.copies import CopyStorage
from service.ports.files import InlineFiles
from service.ports.store import Store
from service.settings import Settings
from service.wire.copy_addresses import CopyAddresses
from service.wire.media import MediaAddresses


@dataclass(frozen=True, slots=True)
class FileStorage:
    """`results` None: RESULTS_URL is not set. The addresses are what people outside open a file with."""

    inline: InlineFiles
    results: CopyStorage | None
    inline_addresses: MediaAddresses
    copy_addresses: CopyAddresses


def file_storage(settings: Settings, store: Store, local_secret: str) -> FileStorage:
    """Addresses are signed with the secret in the database, so that they outlive a SECRET_KEY. Raises SettingsError."""
    keys = (local_secret, *settings.secret_keys)
    return FileStorage(
        store.inline_files or MediaFolder(settings.media_dir),
        result_storage(settings),
        MediaAddresses(settings.public_url, keys),
        CopyAddresses(settings.public_url, keys),
    )


def result_storage(settings: Settings) -> CopyStorage | None:
    """Raises SettingsError."""
    if settings.results_url is None:
        return None
    try:
        return open_results(settings.results_url, settings.max_result_bytes)
    except ValueError as error:
        raise SettingsError([WrongSetting("RESULTS_URL", str(error))]) from None
