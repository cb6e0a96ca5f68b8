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
    RESOURCES
    + ("scheduler_options", "login", "labels", "retry", "fail_on_error", "signatures")
)
"""Ports that do not affect a job's result and are not part of any signature.

The tej package that VisTrails includes does not have these ports."""

BESIDE_THE_WORK = NEW_BESIDE_THE_WORK | frozenset(["print_error", "queue"])
"""All ports that do not affect a job's result; the scheme `content` ignores them.

The scheme `vistrails` includes `print_error` and `queue`, as VisTrails does."""

SCHEMES = {"vistrails": "vistrails_module_", "content": "vistrails_content_"}
"""Prefix of the job ids for each signature scheme."""

CONTENT_DIGITS = 40
