"""Grace period of a kill: the default, which the help prints, and the maximum.

The module imports nothing, for the same reason as `default_queue.py`.
"""

DEFAULT_GRACE = 10
"""Number of seconds between SIGTERM and SIGKILL in a kill."""
MAX_GRACE = 3600
"""Largest value of the option `--grace`, in seconds."""
