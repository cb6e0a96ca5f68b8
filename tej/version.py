"""The version of tej, for the package, `tej --version` and the server's scripts."""

__version__ = "1.0.0.dev0"
