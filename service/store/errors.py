"""Why a store cannot be opened."""


class CannotOpen(Exception):
    """The start ends with this sentence; it holds no password."""
