"""Queue on a server, and its jobs: submission, status, logs, download, kill, delete.

Import the public names from `tej`, not from this package.
"""
