"""Version number of the tej package and of the server's scripts."""

__version__ = "1.0.0.dev0"
