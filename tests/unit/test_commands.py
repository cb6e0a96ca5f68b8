"""Commands whose queue, settings and connection the test gives."""

from __future__ import annotations

import inspect
import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner
from statuses import job

from tej import config, errors
from tej.cli import cleanup, delete, destroy, download, notify, prune, runtime_check
from tej.cli.exit_status import DECLINED
from tej.cli.main import tej
from tej.cli.open import argument_of_scp
from tej.config.profile import Setting
from tej.runtime_check import Finding
from tej.transport import openssh_login
from tej.transport.openssh_login import Login


class Queue:
    """A queue that records its calls, and gives the replies of the test."""

    queue, destination_string = "/q", "lab"

    def __init__(self, **replies: Any) -> None:
        self.replies = replies
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*words: Any, **options: Any) -> Any:
            self.calls.append((name, *words, *options.values()))
            return self.replies.get(name)

        return call

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(("close",))


def call(name: str, *words: Any, as_json: bool = False, **options: Any) -> Any:
    """Call the function of a command, without its command line."""
    command = import_module(f"tej.cli.{name}").command
    return inspect.unwrap(command.callback)(*words, as_json=as_json, **options)


Read = Any


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """Return a function that returns what was printed, or the JSON document."""

    def read_(*, as_json: bool = False, err: bool = False) -> Any:
        out = capsys.readouterr()
        text = out.err if err else out.out
        return json.loads(text) if as_json else text

    return read_


def test_queue_prints_its_limit(read: Read) -> None:
    info = SimpleNamespace(path="/q", runtime="slurm", max_running=None)
    queue = Queue(info=info)
    call("queue", queue)
    assert read() == "Queue: /q\nRuntime: slurm\nLimit: none\n"
    info.max_running = 3
    call("queue", queue)
    assert read().endswith("Limit: 3 running jobs\n")
    call("queue", queue, as_json=True)
    document = {"queue": "/q", "runtime": "slurm", "max_running": 3}
    assert read(as_json=True) == document


def test_limit_is_a_number(read: Read) -> None:
    queue = Queue()
    for wrong in ("-1", "x", "", "1.5"):
        with pytest.raises(click.UsageError):
            call("limit", queue, wrong)
    assert queue.calls == []
    call("limit", queue, "4")
    assert (queue.calls, read()) == ([("limit", 4)], "")
    call("limit", queue, "0", as_json=True)
    assert queue.calls[1:] == [("limit", 0)]
    assert read(as_json=True) == {"queue": "/q", "max_running": 0}


def test_setup_creates_the_wanted_links(read: Read) -> None:
    queue = Queue(setup="/q")
    options = {"force": 1, "only_links": False, "max_running": 2}
    call("setup", queue, ("/l",), False, **options)
    assert read() == ""
    call("setup", queue, ("/l",), True, as_json=True, **options)
    assert read(as_json=True) == {"queue": "/q", "links": ["/l", "~/.tej"]}
    assert queue.calls == [
        ("setup", ["/l"], 1, False, 2),
        ("setup", ["/l", "~/.tej"], 1, False, 2),
    ]


def test_directory_is_printed_for_scp(read: Read) -> None:
    for destination, found in {
        "local:": "/d",
        "lab": "lab:/d",
        "me@lab:2222": "me@lab:/d",
        "ssh://me@[::1]:22": "me@[::1]:/d",
    }.items():
        assert argument_of_scp(destination, "/d") == found
    queue = Queue(status=job("a"))
    call("open", queue, "a", [], with_host=False)
    assert read() == "/\n"
    call("open", queue, "a", [], with_host=True)
    assert read() == "lab:/\n"
    call("open", queue, "a", [], with_host=False, as_json=True)
    assert read(as_json=True) == {"id": "a", "directory": "/", "scp": "lab:/"}


def test_status_includes_archived_attempts(read: Read) -> None:
    first = job("a#1", "killed")
    queue = Queue(statuses={"a": job("a"), "b": None}, attempts=[first])
    queue.connection = SimpleNamespace(  # type: ignore[attr-defined]
        job_not_found=lambda job_id: errors.JobNotFound(f"no {job_id}")
    )
    jobs = SimpleNamespace(ids=("a", "b"), prefix=lambda *_: "")
    options: dict[str, Any] = {"attempts": True, "format_": "text"}
    assert call("status", queue, jobs, **options) == 3
    assert [line.split(":")[0] for line in read().splitlines()] == ["a#1", "a"]
    assert queue.calls[1:] == [("attempts", "a"), ("attempts", "b")]
    assert call("status", queue, jobs, **options | {"format_": "0.6"}) == 0
    assert read() == "finished 0\nnot found\n"
    jobs = SimpleNamespace(ids=("a",), prefix=lambda *_: "latest ")
    del queue.replies["statuses"]["b"]
    assert call("status", queue, jobs, **options | {"attempts": False}) == 0
    assert read().startswith("latest Job is finished")


def test_queue_is_removed_after_a_confirmation(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: Any = Queue(jobs=[job("a"), job("b", "running")], sizes={"a": 5})
    asked: list[str] = []

    def confirm(verb: str, loss: str, more: str) -> bool:
        asked.append(f"{verb} {loss}{more}")
        return len(asked) > 1

    monkeypatch.setattr(destroy, "confirm", confirm)
    assert destroy.destroy(queue, False, False, True, 7, False) == DECLINED
    assert read(err=True) == "Nothing was removed\n"
    assert asked[0].startswith("remove the queue '/q' on 'lab' with 2 jobs (")
    assert destroy.destroy(queue, False, False, True, 7, False) == 0
    assert read(err=True) == "Removed the queue '/q'\n"
    assert destroy.destroy(queue, True, False, False, 7, True) == 0
    assert read(as_json=True) == {"queue": "/q", "removed": True}
    assert len(asked) == 2
    removals = [one for one in queue.calls if one[0] == "cleanup"]
    assert removals == [("cleanup", True, 7), ("cleanup", False, 7)]
    del queue.calls[:]
    assert destroy.destroy(queue, True, True, True, 7, False) == 0
    said = read()
    assert "Would remove the queue '/q' with 2 jobs" in said
    assert said.endswith("Would kill job 'b'\n")
    destroy.print_loss(queue, False, False)
    assert read().endswith("Job 'b' is still running: nothing would be removed\n")
    destroy.print_loss(queue, False, True)
    document = {"queue": "/q", "removed": False, "jobs": ["a", "b"], "running": ["b"]}
    assert read(as_json=True) == document
    assert {one[0] for one in queue.calls} == {"jobs", "sizes"}


def test_cleanup_without_filter_needs_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def note(name: str) -> Any:
        return lambda *words, **options: done.append((name, *words[1:], options)) or 5

    for name in ("destroy", "prune", "print_dry_run"):
        monkeypatch.setattr(cleanup, name, note(name))
    monkeypatch.setattr(cleanup, "find_jobs", lambda *_: ["jobs"])
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(cleanup, "sys", terminal)
    no_filter = {"older_than": None, "keep_last": None, "failed": False}
    no_filter |= {"states": (), "labels": ()}
    flags = {"kill": False, "grace": 3, "dry_run": False, "yes": False}

    def clean(**options: Any) -> Any:
        return call("cleanup", Queue(), **{**no_filter, **flags, **options})

    with pytest.raises(click.UsageError, match="no filter"):
        clean()
    assert clean(yes=True, kill=True) == 5
    assert clean(dry_run=True) == 5
    assert done == [
        ("destroy", True, False, True, 3, False, {}),
        ("destroy", False, True, False, 3, False, {}),
    ]
    del done[:]
    for wanted in (
        {"older_than": timedelta(1)},
        {"keep_last": 0},
        {"failed": True},
        {"states": ("lost",)},
        {"labels": ("a=b",)},
    ):
        with pytest.raises(click.UsageError, match="--kill"):
            clean(kill=True, **wanted)
        assert clean(dry_run=True, **wanted) == 0
        assert done.pop()[0] == "print_dry_run"
        assert clean(yes=True, **wanted) == 5
        assert done.pop() == ("prune", ["jobs"], {"ask": False, "as_json": False})
    assert clean(failed=True) == 5
    assert done.pop()[2]["ask"]
    terminal.stdin = SimpleNamespace(isatty=lambda: False)
    assert clean(failed=True) == 5
    assert not done.pop()[2]["ask"]


def test_runtime_check_prints_each_finding(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, made = Queue(), []

    def make(destination: str, path: object, runtime: str, **_: object) -> Queue:
        made.append((destination, str(path), runtime))
        if runtime == "wrong":
            raise ValueError("no such runtime")
        return queue

    findings = [Finding("a job runs", None)]
    monkeypatch.setattr(runtime_check, "RemoteQueue", make)
    monkeypatch.setattr(
        runtime_check, "RuntimeCheck", lambda _: SimpleNamespace(run=lambda: findings)
    )
    words = ("slurm", "lab", None, False)
    assert call("runtime_check", *words) == 0
    assert read() == "ok    a job runs\n"
    findings.append(Finding("output", "none came"))
    findings.append(Finding("kill", None))
    assert call("runtime_check", "slurm", "lab", "/p", False) == 1
    assert read() == "ok    a job runs\nWRONG output: none came\nok    kill\n"
    assert call("runtime_check", *words, as_json=True) == 1
    document = read(as_json=True)
    assert document["findings"][:2] == [
        {"what": "a job runs", "wrong": None},
        {"what": "output", "wrong": "none came"},
    ]
    assert [path.startswith("~/.tej-check-") for _, path, _ in made] == [
        *(True, False, True)
    ]
    assert made[1] == ("lab", "/p", "slurm")
    assert queue.calls == [("close",)] * 3
    with pytest.raises(click.UsageError, match="no such runtime"):
        call("runtime_check", "wrong", "lab", None, False)


def test_disconnect_says_what_was_closed(
    read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    closed, own = [True], [None]
    monkeypatch.setattr(openssh_login, "log_out", lambda _: closed[0])
    monkeypatch.setattr(openssh_login, "user_master", lambda _: own[0])

    def disconnect(*words: str, as_json: bool = False) -> Any:
        call("disconnect", words, None, as_json=as_json)
        return read(as_json=as_json, err=not as_json)

    assert disconnect("me@lab") == "Closed the connection to ssh://me@lab\n"
    assert disconnect("lab", as_json=True) == {"closed": True, "own_master": None}
    closed[0] = False
    assert disconnect("lab") == "There is no connection to ssh://lab\n"
    own[0] = Path("/s")  # type: ignore[call-overload]
    said = disconnect("me@lab")
    assert "socket /s; to close it, run `ssh -O exit lab`" in said
    assert disconnect("lab", as_json=True) == {"closed": False, "own_master": "/s"}
    with pytest.raises(click.UsageError, match="no connection to close"):
        disconnect("local:")


def test_config_prints_values_with_sources(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "destination": Setting("ssh://me:secret@lab", "t"),
        "results": Setting(("a", "b"), "t"),
    }
    profile = SimpleNamespace(name=Setting("lab", "e"), settings=settings)
    files = SimpleNamespace(
        resolve=lambda _: profile,
        profiles={"lab": {}, "other": {}},
        files=("t",),
        user_file="u",
    )
    monkeypatch.setattr(config, "load", lambda: files)
    call("config", None)
    said = read()
    assert said.splitlines()[0] == 'profile = "lab"  # e'
    assert 'results = ["a", "b"]  # t\nqueue = "~/.tej"  # default\n' in said
    assert "secret" not in said
    call("config", None)
    assert read(err=True) == "Other profiles: other\n"
    call("config", None, as_json=True)
    document = read(as_json=True)
    assert document["profile"] == "lab"
    assert [*document["settings"]] == ["destination", "queue", "results"]
    assert document["settings"]["results"] == {"value": ["a", "b"], "source": "t"}
    assert document["profiles"] == ["lab", "other"]
    assert document["files"] == ["t"]
    profile.name, profile.settings = None, {"queue": Setting("/q", "t")}
    files.files, files.profiles = (), {}
    call("config", None)
    out = read(err=True)
    assert "There is no file u" in out
    assert "Other" not in out
    call("config", None)
    assert read() == 'queue = "/q"  # t\n'


@pytest.mark.parametrize("shown", [0, 1, None])
def test_notification_uses_the_first_program(
    read: Read, monkeypatch: pytest.MonkeyPatch, shown: int | None
) -> None:
    run: list[list[str]] = []

    def execute(words: list[str], **options: Any) -> Any:
        run.append(words)
        assert options["timeout"] == 10
        if shown is None:
            raise subprocess.TimeoutExpired(words, 10)
        if len(run) <= shown:
            raise FileNotFoundError
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(notify.subprocess, "run", execute)
    notify.notify("Job", "-x")
    assert run[0][2:] == ["--", "Job", "-x"]
    assert len(run) == (2 if shown is None else shown + 1)
    assert read(err=True) == ("Job: -x\n" if shown is None else "")
    monkeypatch.setattr(
        notify.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1)
    )
    terminal = SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(notify, "sys", terminal)
    notify.notify("Job", "end")
    assert read(err=True) == "\aJob: end\n"


def test_connect_prints_how_long_the_connection_lasts(
    read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []
    monkeypatch.delenv("TEJ_PERSIST", raising=False)
    login = Login("me@lab:22", new=True, own=True, socket=Path("/s"), persist="8h")

    def log_in(destination: object, settings: Any) -> Login:
        asked.append((str(destination), settings.persist))
        return login

    monkeypatch.setattr(openssh_login, "log_in", log_in)

    def connect(*words: str) -> Any:
        result = CliRunner().invoke(tej, ["connect", *words, "--json"])
        return result.output if result.exit_code else json.loads(result.stdout)

    document = connect("me@lab", "--persist", "8h")
    assert document.pop("until") is not None
    expected = {"server": "me@lab:22", "new": True, "socket": "/s", "persist": "8h"}
    assert document == expected
    for new, own, persist in (
        *((False, True, None), (True, False, "8h"), (False, False, "8h")),
    ):
        login = replace(login, new=new, own=own)
        document = connect("lab")
        assert (document["persist"], document["new"]) == (persist, new)
        assert (document["until"] is not None) is new
    assert asked[:2] == [("ssh://me@lab", "8h"), ("ssh://lab", "8h")]
    assert "there is nothing to connect to" in connect("local:")
    assert "--persist" in connect("lab", "--persist", "x")


@pytest.mark.parametrize(
    ("options", "folder", "ids"),
    [
        ({"into": "out/{id}"}, {"a": "out/a", "b": "out/b"}, ["a", "b"]),
        ({"into": "out/{id}", "skip_failed": True}, {"a": "out/a"}, ["a"]),
        ({"skip_failed": True}, ".", ["a"]),
        ({}, ".", ["a", "b"]),
    ],
)
def test_jobs_are_downloaded_to_their_directories(
    read: Read,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    folder: Any,
    ids: list[str],
) -> None:
    asked: list[Any] = []

    def download_many(
        _: object, files: object, ids: list[str], directory: object, *rest: Any
    ) -> int:
        asked.append((ids, directory, *rest))
        return 7

    monkeypatch.setattr(download, "download_many", download_many)
    queue = Queue(statuses={"a": job("a"), "b": job("b", "killed")})
    jobs = SimpleNamespace(ids=("a", "b", "a"), statuses=None, by_filter=False)
    words = {"directory": ".", "into": None, "skip_failed": False, "flatten": False}
    code = call("download", queue, ["f"], jobs, **words | options)
    skipped = [one for one in "ab" if one not in ids]
    assert (code, asked) == (7, [(ids, folder, False, False, skipped)])
    said = "b skipped: Job was killed" if skipped else ""
    assert read(err=True).startswith(said)
    with pytest.raises(click.UsageError, match="--into"):
        call("download", queue, [], jobs, **words | {"into": "x", "directory": "y"})


def test_one_job_is_downloaded_to_the_directory(read: Read) -> None:
    jobs = SimpleNamespace(ids=("a",), statuses=None, by_filter=False)
    queue = Queue(download=[Path("x/f")])
    words = {"directory": "x", "into": None, "skip_failed": False, "flatten": True}
    assert call("download", queue, ["f"], jobs, as_json=True, **words) == 0
    assert read(as_json=True) == {"id": "a", "files": ["x/f"]}
    assert queue.calls[0][:3] == ("download", "a", ["f"])
    assert queue.calls[1] == ("note_downloaded", ["a"])
    failed = errors.JobNotFound("no b")
    outcomes = {
        "a": SimpleNamespace(error=None, files=[Path("a/f")]),
        "b": SimpleNamespace(error=failed, files=[]),
    }
    queue = Queue(download_many=outcomes)
    shown: Any = (queue, [], ["a", "b"], ".", False)
    assert download.download_many(*shown, True, ["c"]) == 3
    assert queue.calls[-1] == ("note_downloaded", ["a"])
    documents = read(as_json=True)["jobs"]
    assert [(one["files"], one["skipped"]) for one in documents] == [
        *((["a/f"], False), ([], False), ([], True)),
    ]
    assert download.download_many(*shown, False, []) == 3
    assert read(err=True) == "b: no b\n"


def test_delete_reports_jobs_that_are_kept(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(delete_many={"a": None, "b": errors.JobStillRunning("b runs")})
    jobs = SimpleNamespace(
        ids=("a", "b"), statuses={"a": job("a")}, by_filter=False, skipped=2
    )
    context = SimpleNamespace(params={"all_": False})
    asked: list[bool] = []
    monkeypatch.setattr(delete, "is_confirmed", lambda *_: asked.append(True))

    def run(*, yes: bool = False, as_json: bool = False) -> Any:
        # click passes the context to the innermost function.
        function = inspect.unwrap(delete.command.callback)  # type: ignore[arg-type]
        return function(context, queue, jobs, yes=yes, as_json=as_json)

    assert run() == 5
    assert read() == "Deleted job 'a'\n"
    run()
    said = "b runs\nJobs that match but have not ended, and are kept: 2\n"
    assert read(err=True) == said
    run(as_json=True)
    assert [one["deleted"] for one in read(as_json=True)["jobs"]] == [True, False]
    jobs.by_filter, jobs.skipped = True, 0
    run()
    assert read(err=True) == "b runs\n"
    found = [[*words] for _, words in queue.calls]
    assert found == [["a", "b"]] * 3 + [[job("a")]]
    assert asked == []
    context.params["all_"] = True
    assert run(yes=True) == 5
    assert run() == DECLINED
    assert read(err=True).endswith("Nothing was deleted\n")
    assert (len(queue.calls), asked) == (5, [True])


@pytest.mark.parametrize("dry", [True, False])
def test_dry_run_of_prune_deletes_nothing(
    monkeypatch: pytest.MonkeyPatch, dry: bool
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(prune, "print_dry_run", lambda *_: done.append("dry run"))
    monkeypatch.setattr(
        prune, "prune", lambda _, jobs, ask, as_json: done.append((jobs, ask)) or 7
    )
    queue = Queue(prune=[job("a")])
    no_filter: dict[str, Any] = {"older_than": None, "keep_last": None, "states": ()}
    no_filter |= {"failed": False, "labels": (), "all_": False}

    def run(yes: bool = False, **options: Any) -> Any:
        return call("prune", queue, dry_run=dry, yes=yes, **no_filter | options)

    for yes in (False, True):
        with pytest.raises(click.UsageError, match="--all for every job"):
            run(yes=yes)
    assert queue.calls == done == []
    assert run(keep_last=0) == (0 if dry else 7)
    assert run(all_=True, yes=True) == (0 if dry else 7)
    deleted = [([job("a")], True), ([job("a")], False)]
    assert done == (["dry run"] * 2 if dry else deleted)
    assert queue.calls == [("prune", None, 0, False, (), {}, True)] * 2
