"""Forms of `tej run`:

with a command, detached, `--again`, as a dry run; `tej retry`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import wait_until

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Done

Here = Callable[..., "Done"]
Make = Callable[..., Path]


def test_command_results_and_variables_of_a_profile(
    here: Here, client: Command, library: tej.RemoteQueue
) -> None:
    with (client.place / "tej.toml").open("a") as file:
        file.write(
            'results = ["out"]\nignore = ["out", "*.tmp"]\nshared = ["absent"]\n'
            '[profile.here.environment]\nWORD = "profile"\nOTHER = "o"\n'
        )
    (client.place / "junk.tmp").write_text("junk")
    words = ("--env", "WORD=it's", "--", "sh", "-c", 'ls -a; echo "$WORD $OTHER" >out')
    plan = here("run", "--dry-run", "--json", *words).json
    assert (plan["files"], plan["bytes"]) == ({}, 0)
    assert sorted(plan["left_out"]) == ["junk.tmp", "tej.toml"]
    assert plan["environment"] == ["OTHER", "WORD"]
    assert (plan["shared"], plan["on_end"]) == ([], None)
    assert library.jobs() == []
    # The id does not depend on how the destination is written.
    other = here("run", "--dry-run", "--json", "local:", ".", *words).json
    assert other["id"] == plan["id"]
    assert other["runtime"] is None
    done = here("run", *words)
    assert done.status == 0
    assert set(done.stdout.split()) == {".", "..", "_stdout", "_stderr"}
    assert (client.place / "out").read_text() == "it's o\n"
    assert f"Job submitted as: {plan['id']}\n" in done.stderr
    # The result is ignored, so the signature has not changed.
    assert here("signature", *words).stdout == f"{plan['id']}\n"
    assert here("run", ".", *words).stderr.startswith("Job found: ")
    assert "Exists:       Job is finished" in here("run", "--dry-run", *words).stdout


def test_dry_run_prints_shared_input_and_on_end(here: Here, job: Make) -> None:
    words = ("--dry-run", "--shared", "data", "--on-end", "mail me")
    directory = job("true", {"data/a": "xyz"})
    shown = here("run", *words, directory).stdout
    assert "Shared:       data (3 bytes)\nOn end:       mail me\n" in shown
    plan = here("run", "--json", *words, directory).json
    assert (plan["shared"], plan["on_end"]) == (["data"], "mail me")


def test_again_starts_new_job_with_new_id(
    here: Here, job: Make, library: tej.RemoteQueue
) -> None:
    directory = job("exit 4")
    first = here("run", "-d", directory)
    assert first.status == 0
    job_id = first.stdout.strip()
    assert here("wait", job_id).status == 4
    again = here("run", directory, "--again", "--json").json
    assert (again["id"], again["is_new"]) == (f"{job_id}-2", True)
    assert again["signature"] == library.status(job_id).signature


def test_directory_after_two_dashes_is_refused(
    client: Command, plain_queue: Path, job: Make
) -> None:
    job("exit 3", name="-odd")
    done = client("run", "local:", "--queue", plain_queue, "--", "-odd")
    assert done.status == 3


def test_command_and_script_cannot_be_combined(here: Here, job: Make) -> None:
    for words in (["--script", "x", "--", "y"], ["--"]):
        assert here("run", job("true"), *words).status == 2


def test_retry_repeats_the_same_work_only(
    here: Here, job: Make, library: tej.RemoteQueue
) -> None:
    directory = job("exit 3")
    own = {"labels": {"seed": "1"}, "environment": {"SEED": "it's 1"}}
    job_id = library.ensure(directory, script="start.sh 'a b'", **own).id
    library.submit("named", directory, "start.sh", name="My job", **own)
    library.wait([job_id, "named"])
    done = here("retry", "--failed", "--from", directory)
    assert sorted(done.stdout.splitlines()) == sorted(
        f"Job '{one}' started again" for one in (job_id, "named")
    )
    for status in library.wait([job_id, "named"]).values():
        assert (status.attempt, status.labels) == (2, {"seed": "1"})

    (directory / "start.sh").write_text('echo "$1 $SEED"\n')
    refused = here("retry", job_id, "named", "--from", "absent")
    assert refused.status == 1
    assert "does not exist" in refused.stderr
    answer = here("retry", "--failed", "--from", directory, "--json").json["jobs"]
    new_id = (
        "sig-" + tej.signature(directory, "start.sh 'a b'", own["environment"])[:20]
    )
    assert {one["retried"]: one["id"] for one in answer} == {
        job_id: new_id,
        "named": "named",
    }
    for one in library.wait([new_id, "named"]).values():
        assert one.succeeded
        assert one.labels == {"seed": "1"}
    assert library.status("named").name == "My job"
    assert library.status("named").attempt == 3
    assert b"".join(library.logs(new_id)) == b"a b it's 1\n"
    assert library.status(job_id).failed


def test_retry_refuses_jobs_that_did_not_fail(
    here: Here, job: Make, ended: str, waiting: str, client: Command
) -> None:
    assert here("retry").status == 2
    assert here("retry", ended).status == 4
    assert here("retry", waiting, ended).status == 5
    assert here("retry", "--id", "absent").status == 3


def test_retry_without_from_refuses_changed_files(
    here: Here, client: Command, library: tej.RemoteQueue
) -> None:
    (client.place / "start.sh").write_text("exit 3\n")
    (client.place / "data").write_bytes(b"x" * 70_000)
    words = ("--cpus", "2", "--on-end", 'echo "$TEJ_JOB_STATE"; echo now')
    words += ("--shared", "data")
    job_id = here("run", "-d", "--id", "one", *words).stdout.strip()
    library.wait([job_id])
    assert here("retry", "-d", job_id).stdout == "one\n"
    library.wait([job_id])
    wait_until(lambda: library.on_end_log(job_id) == b"finished\nnow\n")
    assert here("logs", job_id, "--on-end").stdout == "finished\nnow\n"
    shared = Path(str(library.status(job_id).directory), "data")
    # The content store and both attempts share one copy of the file.
    assert shared.stat().st_nlink == 3
    (client.place / "start.sh").write_text("exit 0\n")
    done = here("retry", job_id)
    assert (done.status, done.stdout) == (1, "")
    assert "its files differ from those in '.'" in done.stderr
    (client.place / "start.sh").unlink()
    done = here("retry", job_id)
    assert (done.status, done.stdout) == (1, "")
    assert "no script 'start.sh' in '.': name the directory of the job" in done.stderr
    assert "--from DIR" in done.stderr
    assert library.status(job_id).attempt == 2


def test_needed_jobs_are_found_by_name(
    here: Here, job: Make, ended: str, client: Command
) -> None:
    words = ("--after", "end", "--input", "in=ended job:results.csv")
    plan = here("run", "--dry-run", "--json", job("true"), *words).json
    assert plan["after"] == [ended]
    complete = ("--after", ended, "--input", f"in={ended}:results.csv")
    assert here("signature", job("true"), *complete).stdout == f"{plan['id']}\n"
    done = here("run", job("true"), "--after", "@7")
    assert (done.status, done.stdout) == (125, "")
    assert "No job '@7'" in done.stderr
