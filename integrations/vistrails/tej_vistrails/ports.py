"""Names of resource ports, and of ports that are not part of a signature.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

RESOURCES = (
    "nodes",
    "cpus",
    "memory",
    "gpus",
    "walltime",
    "partition",
    "account",
)
"""Names of the resource ports; `tej submit` and `tej.Resources` use the same names."""

NEW_BESIDE_THE_WORK = frozenset(
    RESOURCES + ("scheduler_options", "login", "labels", "retry", "fail_on_error")
)
"""Ports that do not affect a job's result and are not part of any signature.

The tej package that VisTrails includes does not have these ports."""
