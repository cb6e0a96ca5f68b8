"""Decisions of the commands that need no server: words, jobs, settings, exit statuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from statuses import NOW, job

from tej import errors
from tej.cli import colours, command, confirm_deletion, job_selection, kill, retry
from tej.cli.columns_option import check_columns, parse_columns
from tej.cli.config import as_toml, without_password
from tej.cli.delete import has_ended
from tej.cli.download import find
from tej.cli.download_directories import make_folders
from tej.cli.init import key_of
from tej.cli.job_selection import SelectedJobs
from tej.cli.list import arrange
from tej.cli.password_prompt import ask_for_secret
from tej.cli.resource_options import merge_resources
from tej.cli.run import warn_of_own_results
from tej.cli.sweep import read_rows
from tej.config.profile import Setting
from tej.job.signature import make_id
from tej.job.spec import JobSpec
from tej.queue.kill_request import Killed
from tej.queue.stored_spec import JobParameters


def test_words_are_named_after_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_words = command.name_words
    monkeypatch.chdir(tmp_path)
    assert name_words(("[directory]",), []) == {"directory": "."}
    assert name_words(("[directory]",), ["a"]) == {"directory": "a"}
    assert name_words(("n", "[jobs...]"), ["1", "a", "b"]) == {
        "n": "1",
        "jobs": ["a", "b"],
    }
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(click.UsageError, match="home directory"):
        name_words(("[directory]",), [])


def test_unknown_runtime_is_wrong_usage() -> None:
    command.check_runtime("slurm")
    with pytest.raises(click.BadParameter) as raised:
        command.check_runtime("slurmm")
    assert raised.value.param_hint == "--runtime"


def test_ended_jobs_are_deleted_and_others_killed() -> None:
    left = job("a", processes_left=1)
    assert [has_ended(one) for one in (job("a"), job("a", "running"), left)] == [
        *(True, False, False)
    ]
    assert [
        kill.can_be_killed(one) for one in (job("a"), job("a", "queued"), left)
    ] == [False, True, True]


def test_outcome_of_a_kill_is_described() -> None:
    was, now = job("a", "running"), job("a", "killed")
    assert kill.describe(Killed(was.state, now)) == "killed"
    assert kill.describe(Killed(now.state, now)) == "has already completed"
    assert kill.describe(Killed(now.state, now, 2)) == (
        "has already completed; its remaining processes were killed"
    )


def test_states_are_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    def colour(state: str, column: str = "state", **facts: Any) -> str:
        painted = colours.paint(job("a", state, **facts), column, "x")
        styles = {
            click.style("x", fg=name): name for name in ("red", "green", "yellow")
        }
        return "" if painted == "x" else styles[painted]

    states = ("finished", "killed", "running", "queued")
    assert [*map(colour, states)] == ["", "red", "green", "yellow"]
    assert colour("finished", "exit", exit_code=1) == "red"
    assert colour("killed", "name") == ""
    assert colours.paint(None, "state", "x") == click.style("x", bold=True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert colours.has_colours()
    monkeypatch.setenv("TERM", "dumb")
    assert not colours.has_colours()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")
    assert not colours.has_colours()


def test_columns_are_checked_by_the_jobs() -> None:
    assert parse_columns(" job, state,,state,LR") == ["job", "state", "LR"]
    jobs = [job("a", parameters={"LR": "1"}), job("b", labels={"team": "x"})]
    check_columns(["state", "size", "cpus", "LR", "team"], jobs)
    check_columns(["unknown"], [])
    for name, way_out in (("stat", "did you mean 'state'"), ("zzz", "use job, ")):
        with pytest.raises(click.BadParameter, match=way_out) as raised:
            check_columns(["job", name], jobs)
        assert raised.value.param_hint == "--columns"
    with pytest.raises(click.BadParameter, match="modules"):
        check_columns(["modules"], jobs)


def test_settings_are_printed_as_toml_without_passwords() -> None:
    assert as_toml(["a", True, 2]) == '["a", true, 2]'
    assert as_toml((False,)) == "[false]"
    assert as_toml("ü") == '"ü"'
    assert (key_of("lab_1-a"), key_of("my lab")) == ("lab_1-a", '"my lab"')
    secret = Setting("ssh://me:secret@host", "here")
    assert "secret" not in without_password("destination", secret).value
    assert without_password("destination", secret).source == "here"
    for key, value in (("destination", "me@host"), ("on_end", "ssh://me:x@host")):
        assert without_password(key, Setting(value, "here")).value == value


def test_result_directories_are_distinct_and_inside() -> None:
    jobs = {
        "a": job("a", name="n", parameters={"SEED": "1"}, labels={"SEED": "9"}),
        "b": job("b", name="n", parameters={"SEED": "2"}),
    }
    assert make_folders("out/{SEED}-{name}", jobs) == {"a": "out/1-n", "b": "out/2-n"}
    with pytest.raises(click.UsageError, match="jobs 'a' and 'b' would both"):
        make_folders("out/{name}", jobs)
    with pytest.raises(click.UsageError, match="no value for {LR}.*--param LR"):
        make_folders("{LR}", jobs)
    for value in ("", ".", "..", "a/b", "/", "a\\b", "a\0"):
        hostile = {"a": job("a", parameters={"SEED": value})}
        with pytest.raises(click.UsageError, match="is not a file name"):
            make_folders("{SEED}", hostile)
    assert make_folders("{id}", {"a b": job("a b")}) == {"a b": "a b"}


def test_prefix_of_a_job_is_left_out_only_for_its_id() -> None:
    status = job("a", parameters={"SEED": "2"})
    assert SelectedJobs(("a",)).prefix("a", status) == ""
    for jobs in (
        SelectedJobs(("a", "b")),
        SelectedJobs(("a",), by_filter=True),
        SelectedJobs(("a",), was_searched=True),
    ):
        assert jobs.prefix("a", status) == "a (SEED=2): "
        assert jobs.prefix("a", None) == "a: "
        assert jobs.is_list == (jobs.by_filter or len(jobs.ids) > 1)


def test_first_word_of_a_download_is_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    profile: dict[str, Any] = {"results": ("r.csv",)}
    monkeypatch.setattr(job_selection, "current_profile", lambda: profile)
    split = job_selection._split_files
    assert split(["a", "x", "y"], True) == (["a"], ["x", "y"])
    assert split(["a"], True) == (["a"], ["r.csv"])
    assert split([], True) == ([], ["r.csv"])
    assert split(["a", "x"], False) == ([], ["a", "x"])
    profile.clear()
    with pytest.raises(click.UsageError, match="write `@ 'a b'`"):
        split(["a b"], True)
    with pytest.raises(click.UsageError, match="give files, or set `results`"):
        split([], True)
    with pytest.raises(click.UsageError, match="give files"):
        split([], False)


def test_names_of_a_project_are_one_level_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project/jobs/one/deep").mkdir(parents=True)
    (tmp_path / "project/file").touch()
    (tmp_path / "project/tej.toml").touch()
    monkeypatch.chdir(tmp_path / "project/jobs")
    assert job_selection.project_names() == {"project", "jobs", "one"}
    assert job_selection._subdirectories(tmp_path / "absent") == set()


def test_missing_job_may_be_a_host() -> None:
    class Connection:
        def job_not_found(self, word: str) -> errors.JobNotFound:
            return errors.JobNotFound(f"No job '{word}'")

    queue: Any = type("Queue", (), {"connection": Connection()})
    for word, is_host in (("lab-1.org", True), ("a/b", False), ("a_b", False)):
        assert ("ssh://" in str(job_selection._not_found(queue, word))) == is_host
    with pytest.raises(errors.JobNotFound):
        find(queue, {"a": None}, "a")
    assert find(queue, {"a": job("a")}, "a") == job("a")


def test_newest_job_is_first_unless_sorted() -> None:
    jobs = [
        job("a", submitted=NOW, started=NOW),
        job("b", submitted=NOW + timedelta(1), started=NOW - timedelta(1)),
    ]
    assert [one.job_id for one in arrange(jobs, "newest")] == ["b", "a"]
    assert [one.job_id for one in arrange(jobs, "submitted")] == ["a", "b"]
    assert [one.job_id for one in arrange(jobs, "started")] == ["b", "a"]


def test_option_replaces_the_resource_of_the_profile() -> None:
    assert merge_resources({}, {}) is None
    merged = merge_resources({"memory": "1G", "cpus": 2}, {"memory_per_cpu": "2G"})
    assert merged is not None
    assert (merged.memory, merged.cpus) == (None, 2)
    assert merged.memory_per_cpu
    assert merge_resources({"cpus": 2}, {"cpus": 3}).cpus == 3  # type: ignore[union-attr]
    with pytest.raises(click.UsageError):
        merge_resources({}, {"walltime": "soon"})


def test_only_failed_jobs_are_retried() -> None:
    queue: Any = None
    assert retry.why_not(queue, "a", job("a", exit_code=1)) is None
    assert retry.why_not(queue, "a", job("a", "lost")) is None
    for status, kind in (
        (job("a"), errors.JobAlreadyExists),
        (job("a", "running"), errors.JobStillRunning),
    ):
        assert type(retry.why_not(queue, "a", status)) is kind


def test_retry_after_an_exceeded_limit_has_a_hint() -> None:
    status = replace(job("a"), cut_off="limit", note="slurm: TIMEOUT (time limit)")
    hint = retry.limit_hint(status)
    assert hint is not None
    assert "exceeded a limit (slurm: TIMEOUT (time limit)); to change" in hint
    assert "--walltime" in hint
    hint = retry.limit_hint(replace(status, note=None))
    assert hint is not None
    assert "exceeded a limit; to change" in hint
    assert retry.limit_hint(replace(status, cut_off="other")) is None


def test_retry_keeps_the_id_unless_files_change() -> None:
    old, new = "1" * 64, "2" * 64
    made = make_id(old)
    files = retry.Files("dir", False, ())

    def find_id(job_id: str, digest: str, *, is_new: bool) -> str | None:
        status = job(job_id, "killed", signature=old)
        return retry.find_id(status, digest, files, is_new=is_new)

    assert find_id(made, old, is_new=False) == made
    # The files may change again before they are sent, so `ensure` makes the id.
    assert find_id(made, new, is_new=True) is None
    assert find_id(f"{made}-2", new, is_new=True) is None
    assert find_id("train", new, is_new=True) == "train"
    assert find_id(f"{made}x", new, is_new=True) == f"{made}x"
    with pytest.raises(errors.InvalidJobDirectory, match="'dir'"):
        find_id(made, new, is_new=False)
    unsigned = job("a", "killed")
    assert retry.find_id(unsigned, new, files, is_new=True) == "a"


def test_retry_reads_no_directory_without_the_script(tmp_path: Path) -> None:
    """The current directory may be the home directory, with files of many gigabytes."""
    files = retry.Files(str(tmp_path), False, ())
    with pytest.raises(errors.InvalidJobDirectory, match="--from DIR"):
        files.signature(JobParameters("start.sh", {}, {}, False))
    assert "entries" not in vars(files)


def test_retried_job_is_described_as_before() -> None:
    status = job("a", "killed", name="n", labels={"k": "v"}, parameters={"S": "1"})
    own = JobParameters("cmd", {"V": "1"}, {"cpus": 2}, True, on_end="mail")
    files = retry.Files("dir", True, ("*.o",))
    spec = retry.make_spec("b", status, own, files, {})
    assert (spec.directory, spec.script, spec.job_id, spec.name) == (
        *("dir", "cmd", "b", "n"),
    )
    assert (spec.labels, spec.environment) == ({"k": "v"}, {"V": "1"})
    assert (spec.everything, spec.ignore, spec.on_end) == (True, ("*.o",), "mail")
    assert spec.login
    assert spec.parameters == {"S": "1"}
    assert spec.resources is not None
    assert spec.resources.cpus == 2
    given = {"name": "m", "cpus": 3}
    spec = retry.make_spec("b", replace(status, name=""), own, files, given)
    assert (spec.name, spec.resources and spec.resources.cpus) == ("m", 3)
    assert retry.make_spec("b", replace(status, name=""), own, files, {}).name is None


def test_own_results_are_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("start.sh", "r.csv"):
        (tmp_path / "job" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "job" / name).touch()
    (tmp_path / "r.csv").touch()
    spec = JobSpec(str(tmp_path / "job"))
    inside = str(tmp_path / "job/r.csv")
    warn_of_own_results([inside], spec)
    assert "change its signature" in capsys.readouterr().err
    for written, ignore in (
        ([], ()),
        ([str(tmp_path / "r.csv")], ()),
        ([inside], ("*.csv",)),
    ):
        warn_of_own_results(written, replace(spec, ignore=ignore))
        assert capsys.readouterr().err == ""


def test_rows_of_a_table_are_combined_with_parameters(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("A\n1\n2\n")
    with table.open() as file:
        assert read_rows(("B=3,4",), file, zipped=False) == [
            {"A": "1", "B": "3"},
            {"A": "1", "B": "4"},
            {"A": "2", "B": "3"},
            {"A": "2", "B": "4"},
        ]
    with pytest.raises(ValueError, match="--param or --table"):
        read_rows((), None, zipped=False)
    table.write_text("")
    with table.open() as file, pytest.raises(ValueError, match=r"t\.csv is not a tab"):
        read_rows((), file, zipped=False)


def test_deletion_in_a_script_needs_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def ask(question: str, *default: object, err: bool) -> bool:
        asked.append((question, default, err))
        return True

    class Stdin:
        def __init__(self, is_terminal: bool) -> None:
            self.isatty = lambda: is_terminal

    monkeypatch.setattr(click, "confirm", ask)
    monkeypatch.setattr("sys.stdin", Stdin(False))
    with pytest.raises(click.UsageError, match="1 job, .*To confirm, add --yes; or so"):
        confirm_deletion.confirm("delete", "1 job", "; or so")
    assert asked == []
    monkeypatch.setattr("sys.stdin", Stdin(True))
    assert confirm_deletion.confirm("delete", "1 job\x1b")
    # Without a default, click takes an empty answer as "no".
    assert asked == [("Delete 1 job\\x1b, results included?", (), True)]


def test_secret_is_neither_echoed_nor_on_stdout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def prompt(text: str, **options: object) -> str:
        asked.append((text, options))
        return "secret"

    monkeypatch.setattr(click, "prompt", prompt)
    assert ask_for_secret("Password\nfor me: ") == "secret"
    assert asked == [("Password\n| for me", {"hide_input": True, "err": True})]
