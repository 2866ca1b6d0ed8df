"""Callbridge: submit a task to an AI image provider, guard its callback, tell everybody who asked."""

__version__ = "0.1.0"
