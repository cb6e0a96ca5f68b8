"""Decorator `@tej_flow`: runs a flow as a job, whose upload contains the code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import prefect
from prefect import Flow
from prefect.flows import InfrastructureBoundFlow, bind_flow_to_infrastructure

from tej_prefect.bundles import UNPACKS_FILES
from tej_prefect.worker import TejWorker

P = ParamSpec("P")
R = TypeVar("R")

BOUND = ("worker_cls", "work_pool", "job_variables", "launcher", "include_files")
"""Attributes of a flow that is bound to a work pool.  In the job, the flow is not bound
and lacks these attributes."""


class TejFlow(InfrastructureBoundFlow[P, R]):
    """A flow that `tej_flow` has bound to a work pool."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a plain flow without a worker, so that the job needs only Prefect."""
        state = {name: one for name, one in vars(self).items() if name not in BOUND}
        return object.__new__, (Flow,), state

    def with_options(self, **options: Any) -> TejFlow[P, R]:
        """Return a copy of the flow with other options."""
        return _as_tej_flow(super().with_options(**options))


def _as_tej_flow(bound: InfrastructureBoundFlow[P, R]) -> TejFlow[P, R]:
    # Prefect offers no way to choose the class of a bound flow.
    bound.__class__ = TejFlow
    return cast("TejFlow[P, R]", bound)


def tej_flow(
    work_pool: str,
    *,
    include_files: Sequence[str] | None = None,
    python: str = "python",
    **job_variables: Any,
) -> Callable[[Flow[P, R]], TejFlow[P, R]]:
    """Return a decorator that runs a flow as a job of a work pool of type `tej`.

        @tej_flow("hpc", include_files=["*.csv"], cpus=4, walltime="2:00:00")
        @flow
        def study() -> None: ...

        state = study(return_state=True)

    When the flow is called, a worker in the calling process sends the flow's code and
    the files that match `include_files` with the job, and waits for the job.  The flow
    can return a value only if it has a result storage.  The patterns are relative to
    the directory of the flow's file.  `python` is the Python interpreter of the job.
    The other arguments are variables of the work pool.

    Raises ValueError if this version of Prefect does not unpack such files in the job.
    """
    if include_files and not UNPACKS_FILES:
        raise ValueError(
            f"include_files has no effect in Prefect {prefect.__version__}, which does "
            "not unpack the files in the job: install a newer version of Prefect"
        )

    def decorate(flow: Flow[P, R]) -> TejFlow[P, R]:
        bound = bind_flow_to_infrastructure(
            flow,
            work_pool=work_pool,
            worker_cls=TejWorker,
            job_variables=job_variables,
            # By default Prefect uses `uv`, which the server may not have.
            launcher={"upload": [sys.executable], "execution": [python]},
            include_files=include_files,
        )
        return _as_tej_flow(bound)

    return decorate
