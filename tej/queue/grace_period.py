"""Grace period of a kill, which the help of the commands prints; its maximum.

The module imports nothing, like default_queue.py.
"""

DEFAULT_GRACE = 10
"""Number of seconds between SIGTERM and SIGKILL in a kill."""
MAX_GRACE = 3600
"""Largest value of the option `--grace`, in seconds."""
