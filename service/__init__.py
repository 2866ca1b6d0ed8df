"""Callbridge: submits tasks to AI image providers, receives their callbacks and forwards the events."""

__version__ = "0.1.0"
