"""Command line of tej: one module per command; each command calls the Python API."""

from tej.cli.main import main

__all__ = ["main"]
