"""Luigi's tasks as jobs in a real Slurm, over SSH."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

luigi = pytest.importorskip("luigi")

from servers.sshd import Sshd  # noqa: E402

import tej  # noqa: E402
from tej_luigi import TejBatch, TejTask  # noqa: E402
from tests.adapters_luigi.fixtures import own_luigi  # noqa: E402, F401
from tests.adapters_luigi.run_tasks import build  # noqa: E402


def test_batch_of_luigi_jobs_runs_in_slurm(
    own_luigi: None,  # noqa: F811
    queue: tej.RemoteQueue,
    queue_path: Path,
    home: Path,
    start_sshd: Callable[..., Sshd],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Square(TejTask):
        n = luigi.IntParameter()
        inline = "echo $(({{n}} * {{n}})) ${SLURM_JOB_ID:+slurm} >out"
        results = ("out",)
        job_resources = tej.Resources(cpus=1, walltime="5:00")

    class Squares(TejBatch):
        def jobs(self) -> list[TejTask]:
            return [Square(n=n) for n in range(4)]

    server = start_sshd(home=home)
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh/config").write_text(
        f"Host cluster\n    HostName {server.address}\n    Port {server.port}\n"
        f"    User {server.user}\n{server.client_options}"
    )
    for name, value in {
        "TEJ_DESTINATION": "cluster",
        "TEJ_QUEUE": str(queue_path),
        "TEJ_RUNTIME": "slurm",
    }.items():
        monkeypatch.setenv(name, value)
    assert build(Squares())
    for task in Squares().jobs():
        status = task.status()
        assert status is not None
        assert (status.runtime, status.succeeded) == ("slurm", True)
        with task.output()["results"]["out"].open() as file:
            assert file.read() == f"{task.n * task.n} slurm\n"
    assert Squares().complete()
