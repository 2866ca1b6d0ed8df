"""Store the files that came inline with an update, and insert their addresses."""

from collections.abc import Callable

from msgspec.structs import replace

from service.core.inline import with_addresses
from service.core.update import Update
from service.ports.files import InlineFiles


class InlineKeeper:
    def __init__(self, files: InlineFiles, address: Callable[[str], str]) -> None:
        """`address` makes the public address of a stored file's name."""
        self.files = files
        self.address = address

    async def keep(self, update: Update) -> Update:
        """Returns once all files are durable. Can be repeated after Unavailable: a file is stored only once."""
        if not update.files:
            return update
        addresses = {
            file.placeholder: self.address(await self.files.save(file.data, file.extension)) for file in update.files
        }
        output = update.output and with_addresses(update.output, addresses)
        return replace(update, output=output, files=())
