"""How tests of tej_luigi run tasks."""

from __future__ import annotations

from collections.abc import Callable

import luigi

Configure = Callable[..., None]
"""Sets what luigi.cfg would."""


def build(*tasks: luigi.Task, workers: int = 1, **options: object) -> bool:
    """Run them in this process, with a scheduler of its own; whether all went well."""
    options = {"local_scheduler": True, "no_lock": True, **options}
    return bool(luigi.build(list(tasks), workers=workers, **options))
