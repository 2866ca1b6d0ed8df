"""Copying everything from one database to another, whichever engine either is on."""

from service.store.transfer.run import copy_everything

__all__ = ["copy_everything"]
