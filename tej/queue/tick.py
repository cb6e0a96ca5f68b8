"""Tick of a wait: the interval at which a waiting thread calls `on_tick`."""

TICK = 1.0
"""Number of seconds between two calls to `on_tick`.  Ctrl-C takes effect within TICK
seconds."""
