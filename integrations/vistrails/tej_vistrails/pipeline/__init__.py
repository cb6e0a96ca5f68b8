"""Pipelines in Python 3: graphs of steps with typed ports that run as jobs."""
