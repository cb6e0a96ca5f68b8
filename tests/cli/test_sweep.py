"""`tej sweep`, `tej results` and `tej download --into`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]

SCRIPT = """
printf '{"seed": %s, "argument": "%s"}' "$SEED" "$1" >metrics.json
[ "$SEED" != 2 ] || exit 3
"""


@pytest.fixture
def call(client: Command, plain_queue: Path, job: Make) -> Callable:
    """Return a function that runs a command from the directory of a job."""
    client.place = job(SCRIPT, {".tejignore": "out\n"})
    own = {"TEJ_DESTINATION": "local:", "TEJ_QUEUE": str(plain_queue)}
    return lambda *words: client(*words, **own)


SWEEP = ("sweep", ".", "--param", "SEED=1..3", "--", "./start.sh", "x {SEED}")


def test_sweep_from_submission_to_results(
    call: Callable, client: Command, library: tej.RemoteQueue
) -> None:
    done = call(*SWEEP)
    ids = done.stdout.splitlines()
    assert (len(set(ids)), done.stderr) == (3, "3 jobs submitted, 0 found\n")
    library.wait(ids)
    # Equal work is found, and its parameters are part of the signature.
    again = call(*SWEEP)
    assert again.stdout == done.stdout
    assert again.stderr == "0 jobs submitted, 3 found\n"

    listed = call("list", "--columns", "id,SEED,exit").stdout
    rows = dict(zip(ids, ("1\t0", "2\t3", "3\t0"), strict=True))
    assert listed == "".join(f"{one}\t{rows[one]}\n" for one in sorted(rows))
    document = call("list", "--json", "--sort=id").json
    assert {one["id"]: one["parameters"] for one in document["jobs"]} == {
        one: {"SEED": str(number)} for number, one in enumerate(ids, 1)
    }

    chosen = call("list", "--param", "SEED=2..9", "--columns", "id").stdout.split()
    assert sorted(chosen) == sorted(ids[1:])
    assert len(call("list", "--param", "SEED").stdout.splitlines()) == 3
    done = call("status", "--param", "SEED=2,7")
    assert done.stdout.startswith(f"{ids[1]} (SEED=2): Job is finished")
    assert len(done.stdout.splitlines()) == 1

    client(
        "init", "lab", "local:", "--queue", library.queue, "--result", "metrics.json"
    )
    results = call("results", "-p", "lab", "--csv")
    table = {row["SEED"]: row for row in csv.DictReader(io.StringIO(results.stdout))}
    assert {seed: row["argument"] for seed, row in table.items()} == {
        seed: f"x {seed}" for seed in ("1", "2", "3")
    }
    assert table["2"]["job"] == ids[1]

    words = ("--skip-failed", "--into", "out/{SEED}", "metrics.json")
    done = call("download", *words)
    assert done.status == 0
    assert done.stderr.startswith(f"{ids[1]} (SEED=2) skipped: Job is finished (")
    assert done.stderr.endswith(" with exit code 3\n1 of 3 jobs skipped\n")
    written = sorted(client.place.glob("out/*/metrics.json"))
    assert [path.parent.name for path in written] == ["1", "3"]
    loss = call("destroy", "--dry-run")
    assert ", 1 not yet downloaded)" in loss.stdout
    answer = call("download", "--json", *words).json["jobs"]
    assert {one["id"]: one["skipped"] for one in answer} == {
        one: one == ids[1] for one in ids
    }

    # A retry keeps the parameters.
    (client.place / "start.sh").write_text("#!/bin/sh\n")
    assert call("retry", "--failed", "--from", ".").status == 0
    (fixed,) = {job.job_id for job in library.jobs()} - set(ids)
    assert library.status(fixed).parameters == {"SEED": "2"}
    assert library.job(fixed).wait().succeeded


def test_job_found_by_sweep_gets_its_parameters(
    call: Callable, library: tej.RemoteQueue
) -> None:
    one = call("submit", "--reuse", "--env", "A=it's 1", "--", "true").stdout.strip()
    assert library.status(one).parameters == {}
    done = call("sweep", "--param", "A=it's 1", "--", "true")
    assert (done.stdout, done.stderr) == (f"{one}\n", "0 jobs submitted, 1 found\n")
    assert library.status(one).parameters == {"A": "it's 1"}


def test_dry_run_of_sweep_submits_nothing(
    call: Callable, library: tej.RemoteQueue
) -> None:
    done = call("sweep", "--param", "A=1,2", "--param", "B=x,y", "--zip", "--dry-run")
    assert done.stdout == "A=1 B=x\nA=2 B=y\n"
    words = ("--param", "A=it's,2", "--dry-run", "--", "echo {A}")
    assert call("sweep", *words).stdout == ("A=it's  echo 'it'\"'\"'s'\nA=2  echo 2\n")
    (_, second) = call("sweep", "--json", *words).json["jobs"]
    assert second == {"parameters": {"A": "2"}, "command": "echo 2"}
    assert library.jobs() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give the parameters"),
        (("--param", "A"), "NAME=VALUES"),
        (("--param", "A=1,2", "--id", "a"), "Several jobs would have the id 'a'"),
        (("--param", "A=1", "--table", "start.sh"), "is not a table"),
    ],
)
def test_wrong_sweep_is_refused(
    call: Callable, words: tuple[str, ...], message: str
) -> None:
    done = call("sweep", *words)
    assert done.status == 2
    assert message in done.stderr
