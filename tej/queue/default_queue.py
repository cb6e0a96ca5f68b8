"""Default path of a queue on the server, which the help of the commands prints.

The module imports nothing, so that the command line can parse its options before it
imports the modules that send requests.
"""

DEFAULT_TEJ_DIR = "~/.tej"
"""Path of the queue on the server."""
