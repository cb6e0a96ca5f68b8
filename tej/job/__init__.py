"""A job before it is on any server: what to run, what it needs, what identifies it."""
