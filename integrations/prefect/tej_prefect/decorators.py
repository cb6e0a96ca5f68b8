"""`@tej` decorator: runs a flow as a job and sends the flow's code with the job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tej_prefect.worker import TejWorker


def tej(
    *,
    work_pool: str,
    include_files: Sequence[str] | None = None,
    include_files_base_dir: str | Path | None = None,
    **job_variables: Any,
) -> Callable[[Any], Any]:
    """Bind a flow to a work pool of type `tej`; needs Prefect 3.9.

        from tej_prefect.decorators import tej

        @tej(work_pool="hpc", include_files=["model/"], cpus=4)
        @flow
        def study() -> None: ...

        study()

    Each call runs the flow as a job of the work pool and waits for it.  The job's own
    upload contains the code: no deployment, storage or repository is needed.
    `include_files` are patterns relative to the flow's file or
    `include_files_base_dir`.
    """
    # Not at the top: older releases have neither this function nor these bundles.
    from prefect.flows import bind_flow_to_infrastructure

    def bind(flow: Any) -> Any:
        return bind_flow_to_infrastructure(
            flow,
            work_pool,
            TejWorker,
            job_variables,
            launcher={"upload": [sys.executable], "execution": ["python"]},
            include_files=include_files,
            include_files_base_dir=include_files_base_dir,
        )

    return bind
