"""Version of tej: of the package, of `tej --version` and of the server's scripts."""

__version__ = "1.0.0.dev0"
