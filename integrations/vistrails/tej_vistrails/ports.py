"""Groups of ports: resources, and ports that are not part of the signature.

VisTrails loads this file: Python 2.7 and 3.
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
"""Resource ports; `tej submit` and `tej.Resources` use the same names."""

NEW_BESIDE_THE_WORK = frozenset(
    RESOURCES
    + ("scheduler_options", "login", "labels", "retry", "fail_on_error", "signatures")
)
"""Ports that do not affect the result of a job and are not part of any signature.  The
original package had none of these ports."""

BESIDE_THE_WORK = NEW_BESIDE_THE_WORK | frozenset(["print_error", "queue"])
"""The same, and the ports of the original package, which VisTrails' scheme includes."""

SCHEMES = {"vistrails": "vistrails_module_", "content": "vistrails_content_"}
"""Signature schemes, with the prefix of the job ids."""

CONTENT_DIGITS = 40
