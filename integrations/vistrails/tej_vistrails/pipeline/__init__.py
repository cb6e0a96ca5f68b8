"""Pipelines in Python 3: modules with typed ports, which run as jobs on a server."""
