"""Errors at the start."""


class CannotOpen(Exception):
    """The store cannot be opened; the text is a sentence without passwords."""
