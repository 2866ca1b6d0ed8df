"""Copy everything from one database to another, on any engine."""

from service.store.transfer.run import copy_everything

__all__ = ["copy_everything"]
