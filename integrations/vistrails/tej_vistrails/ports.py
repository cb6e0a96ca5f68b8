"""What the modules' ports mean to the job, and how they are called elsewhere.

Part of what VisTrails loads: Python 2.7 and 3.
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
"""Ports of a job, options of `tej submit`, and fields of `tej.Resources`."""

NEW_BESIDE_THE_WORK = frozenset(
    RESOURCES
    + ("scheduler_options", "login", "labels", "retry", "fail_on_error", "signatures")
)
"""Ports that change nothing in what a job does.  None of them is in a signature: the
same work is the same job.  The original package had none of them."""

BESIDE_THE_WORK = NEW_BESIDE_THE_WORK | frozenset(["print_error", "queue"])
"""The same with the original's own, which VisTrails' scheme has to count."""

SCHEMES = {"vistrails": "vistrails_module_", "content": "vistrails_content_"}
"""How signatures are made, and what the job ids made of them begin with."""

CONTENT_DIGITS = 40
