"""Decisions of the modules, with the part of VisTrails' API that the modules use."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tej_vistrails.client import ClientError, QueueAddress

MODULES = [
    "remote_job",
    "file_modules",
    "job_modules",
]
LOST = ClientError("ConnectionFailed", "silent")
REFUSED = ClientError("AuthenticationFailed", "refused")


class ModuleFailed(Exception):
    pass


class Suspended(Exception):
    pass


class Monitor:
    """VisTrails' records of jobs."""

    def __init__(self) -> None:
        self.records: dict[str, SimpleNamespace] = {}
        self.checked: list[Any] = []
        self.waits = True

    def getJob(self, signature: str) -> SimpleNamespace | None:
        return self.records.get(signature)

    def addJob(
        self, signature: str, parameters: dict[str, Any], name: str, finished: bool
    ) -> None:
        self.records[signature] = SimpleNamespace(
            parameters=parameters, finished=finished, marks=0
        )

    def deleteJob(self, signature: str) -> None:
        del self.records[signature]

    def checkJob(self, module: object, signature: str, job: object) -> None:
        self.checked.append(job)


class Module:
    """A module of VisTrails, whose ports are a dictionary."""

    list_depth = 0
    signature = "f00"

    def __init__(self, monitor: Monitor, folder: Path, **ports: Any) -> None:
        self.monitor, self.ports = monitor, ports
        self.outputs: dict[str, Any] = {}
        self.updated: list[str] = []
        pool = SimpleNamespace(
            create_directory=lambda prefix: SimpleNamespace(name=str(folder))
        )
        self.interpreter = SimpleNamespace(filePool=pool)

    def job_monitor(self) -> Monitor:
        return self.monitor

    def job_name(self) -> str:
        return "name"

    def get_input(self, name: str) -> Any:
        return self.ports[name]

    def force_get_input(self, name: str, default: Any = None) -> Any:
        return self.ports.get(name, default)

    def force_get_input_list(self, name: str) -> Any:
        return self.ports.get(name, [])

    def set_output(self, name: str, value: Any) -> None:
        self.outputs[name] = value

    def update_upstream(self) -> None:
        self.updated.append("all")

    def update_upstream_port(self, port: str) -> None:
        self.updated.append(port)


class Client:
    """A client of a queue, whose replies the test decides."""

    def __init__(self) -> None:
        self.statuses: list[Any] = []
        self.error: ClientError | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.files: list[str] = []

    def _next(self) -> Any:
        found = self.statuses.pop(0) if self.statuses else None
        if isinstance(found, BaseException):
            raise found
        return found

    def status(self, job_id: str) -> Any:
        self.calls.append(("status", job_id))
        return self._next()

    wait = status

    def ensure(self, *words: Any) -> None:
        self.calls.append(("ensure", *words))
        if self.error is not None:
            raise self.error

    def output(self, job_id: str, stream: str) -> str:
        return "\n".join(f"{stream} {n}" for n in range(30)) + "\n"

    def download(self, job_id: str, names: list[str], folder: str) -> list[str]:
        self.calls.append(("download", *names))
        return self.files


def status(state: str, **facts: Any) -> dict[str, Any]:
    known = {"exit_code": None, "signal": None, "killed_by": None, "evidence": "why"}
    final = state not in ("queued", "running")
    return known | {"state": state, "final": final} | facts


DONE = status("finished", exit_code=0)


class Case:
    """The modules, with a client and job records of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.client, self.monitor, self.folder = Client(), Monitor(), folder
        self.warnings: list[str] = []
        api: Any = ModuleType("tej_vistrails.vistrails_api")
        api.Module, api.ModuleError, api.JobMixin = Module, ModuleFailed, Mixin
        api.ModuleSettings = lambda **_: None
        api.PathObject = lambda path: path
        api.fail = lambda module, message: ModuleFailed(message)
        api.suspend = lambda module, message, job: Suspended(message)
        api.waits = lambda monitor: monitor.waits
        api.warn = self.warnings.append
        monkeypatch.setitem(sys.modules, "tej_vistrails.vistrails_api", api)
        for name in MODULES:
            monkeypatch.delitem(sys.modules, f"tej_vistrails.{name}", raising=False)
        for name in MODULES:
            setattr(self, name, import_module(f"tej_vistrails.{name}"))
        for name in MODULES:
            # The modules are imported again if another test needs them.
            monkeypatch.setitem(
                sys.modules, f"tej_vistrails.{name}", getattr(self, name)
            )
        self.queue = QueueAddress("me:pw@host")
        monkeypatch.setattr(self.remote_job, "CommandClient", lambda _: self.client)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def make(self, file: str, name: str, **ports: Any) -> Any:
        ports = {"queue": self.queue, "print_error": False} | ports
        return getattr(getattr(self, file), name)(self.monitor, self.folder, **ports)

    def run(self, module: Any) -> Any:
        """Execute the module as VisTrails does."""
        if hasattr(module, "make_id"):
            module.update_upstream()
        module.compute()
        return module


class Mixin:
    pass


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Case:
    return Case(monkeypatch, tmp_path)


def submit(case: Case, **ports: Any) -> Any:
    return case.make("job_modules", "SubmitShellJob", source="echo%20a", **ports)


def test_missing_job_is_started(case: Case) -> None:
    case.client.statuses = [None, DONE]
    module = case.run(submit(case, options=["-x 'a b'", "-y"]))
    folder = str(case.folder / "SubmitShellJob")
    job_id = "vistrails_module_f00"
    assert case.client.calls == [
        ("status", job_id),
        ("ensure", job_id, folder, ["-x", "a b", "-y"]),
        ("status", job_id),
        ("download", "_stdout", "_stderr"),
    ]
    assert (Path(folder) / "start.sh").read_bytes() == b"echo a"
    assert module.updated == ["queue", "print_error", "all"]
    assert module.outputs["exitcode"] == 0
    assert module.outputs["stderr"] == str(case.folder / "_stderr")
    (record,) = case.monitor.records.values()
    assert record.finished
    assert record.parameters == {
        "destination": "me@host",
        "queue": "~/.tej",
        "job_id": job_id,
        "exitcode": 0,
    }
    assert not module.is_cacheable()


def test_existing_job_is_not_started(case: Case) -> None:
    for first in (DONE, status("running")):
        case.client.statuses = [first, DONE]
        case.client.calls.clear()
        module = case.run(submit(case))
        names = [name for name, *_ in case.client.calls]
        waits = ["status"] * (first is not DONE)
        assert names == ["status", *waits, "download"]
        assert module.updated == ["queue", "print_error"]


def test_running_job_suspends_its_module(case: Case) -> None:
    case.monitor.waits = False
    case.client.statuses = [status("running")]
    module = case.run(submit(case))
    assert case.monitor.checked == [module.job]
    assert case.monitor.records["f00"].parameters["job_id"] == module.job.job_id


def test_records_of_unended_jobs_are_kept(case: Case) -> None:
    marks: list[bool] = []
    for finished in (True, False):
        case.monitor.records["f00"] = SimpleNamespace(
            finished=finished, mark=lambda: marks.append(finished)
        )
        case.client.statuses = [LOST]
        submit(case).update_upstream()
    assert marks == [False]


@pytest.mark.parametrize(
    ("known", "error", "kept"),
    [(False, LOST, True), (False, REFUSED, False), (True, REFUSED, True)],
)
def test_record_remains_if_the_job_may_have_started(
    case: Case, known: bool, error: ClientError, kept: bool
) -> None:
    module = submit(case)
    module.update_upstream()
    if known:
        case.monitor.addJob("f00", {}, "", False)
    case.client.error = error
    with pytest.raises(Suspended if error is LOST else ModuleFailed):
        module.compute()
    assert [*case.monitor.records] == ["f00"] * kept
    assert all(not one.finished for one in case.monitor.records.values())


def test_job_of_another_client_is_used(case: Case) -> None:
    case.client.statuses = [None, DONE]
    case.client.error = ClientError("JobAlreadyExists", "exists")
    assert case.run(submit(case)).outputs["exitcode"] == 0
    assert case.warnings == ["tej: exists; the existing job is used"]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (status("finished", exit_code=3), "failed with exit code 3"),
        (status("finished", signal=9), "was ended by signal 9"),
    ],
)
def test_failure_is_an_error_only_on_request(
    case: Case, end: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case.client.statuses = [end]
    module = case.run(submit(case))
    assert module.outputs["exitcode"] == (3 if end["exit_code"] else 137)
    message = f"Job 'vistrails_module_f00' {words}"
    assert case.warnings == [f"tej: {message}; the workflow continues"]
    case.client.statuses = [end]
    with pytest.raises(ModuleFailed) as caught:
        case.run(submit(case, print_error=True))
    shown = [f"stderr {n}" for n in range(10, 30)]
    assert str(caught.value).splitlines() == [message, *shown]
    assert capsys.readouterr().err.startswith("stderr 0\n")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (status("lost"), "is lost: why"),
        (status("killed", killed_by="me"), "was killed by me"),
        (status("killed"), "was killed by somebody"),
    ],
)
def test_job_without_an_end_of_its_own_fails(
    case: Case, end: dict[str, Any], words: str
) -> None:
    modules = [submit(case), case.make("job_modules", "Job", id="a")]
    for module in modules:
        case.client.statuses = [end]
        with pytest.raises(ModuleFailed, match=f"{words}: `tej retry` starts"):
            case.run(module)
    assert "exitcode" not in case.monitor.records["f00"].parameters


def test_module_refuses_what_cannot_be_one_job(case: Case) -> None:
    case.client.statuses = [None]
    with pytest.raises(ModuleFailed, match="must not contain '--'"):
        case.run(submit(case, options=["-x -- y"]))
    shutil.rmtree(case.folder / "SubmitShellJob")
    with pytest.raises(ModuleFailed, match="Port 'options', value 'a 'b'"):
        case.run(submit(case, options=["a 'b"]))
    module = submit(case)
    module.is_while = True
    with pytest.raises(ModuleFailed, match="while-loop"):
        case.run(module)
    module = submit(case)
    module.signature = ""
    with pytest.raises(ModuleFailed, match="no signature"):
        case.run(module)
    module = submit(case)
    module.list_depth = 1
    module.update_upstream()
    assert module.updated == ["all"]
    assert module.job is None


def test_job_is_found_by_its_id(case: Case) -> None:
    def run(*statuses: Any) -> Any:
        case.client.statuses = [*statuses]
        return case.run(case.make("job_modules", "Job", id="a"))

    assert run(DONE).outputs["exitcode"] == 0
    assert run(status("running"), DONE).outputs["job"].last == DONE
    for end, kind, words in (
        ((None,), ModuleFailed, "No job 'a'"),
        ((status("running"), None), ModuleFailed, "was deleted on the server"),
        ((status("running"), KeyboardInterrupt()), Suspended, "'a' continues to run"),
        ((LOST,), Suspended, "tej: silent"),
        ((REFUSED,), ModuleFailed, "tej: refused"),
    ):
        with pytest.raises(kind, match=words):
            run(*end)


def test_only_a_reply_ends_a_handle(case: Case) -> None:
    job = case.remote_job.RemoteJob(case.queue, "a")
    found = []
    for one in (status("running"), LOST, REFUSED, DONE, None):
        case.client.statuses = [one]
        found.append(job.finished())
    assert found == [False, False, False, True, True]
    assert case.warnings == ["tej: a: silent", "tej: a: refused"]
    assert repr(job) == "<job a in <queue ~/.tej on me@host>>"
    assert (job.standard_output()[:6], job.standard_error()[:6]) == ("stdout", "stderr")


def test_directory_has_the_files_of_the_ports(case: Case, tmp_path: Path) -> None:
    base, one, other = (tmp_path / name for name in ("base", "one", "other"))
    base.mkdir()
    (base / "x").write_text("x")
    (base / "link").symlink_to("nowhere")
    one.write_text("1")
    other.mkdir()
    (other / "link").symlink_to("nowhere")
    paths = {
        "a/b": SimpleNamespace(name=str(one)),
        "d": SimpleNamespace(name=str(other)),
    }
    whole = SimpleNamespace(name=str(base))

    def make(*names: str, **ports: Any) -> Any:
        ports = {"script": "run", **paths, **ports}
        module = case.make("job_modules", "SubmitJob", **ports)
        module.input_ports_order = names
        return module

    assert make(job=whole).work() == (str(base), ["--script", "run"])
    with pytest.raises(ModuleFailed, match="has no files"):
        make().work()
    with pytest.raises(ModuleFailed, match="is not a directory"):
        make(job=paths["a/b"]).work()
    folder = Path(make("a/b", "d", job=whole).work()[0])
    assert folder == tmp_path / "SubmitJob"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert names == ["a", "a/b", "d", "d/link", "link", "x"]
    assert (folder / "d/link").is_symlink()
    module = case.make("file_modules", "MakeDirectory", f=paths["a/b"])
    module.input_ports_order = ["f"]
    assert (Path(case.run(module).outputs["directory"]) / "f").read_text() == "1"
    for name in ("../x", "a//b", "./a", "gone"):
        paths[name] = SimpleNamespace(name="/nowhere")
        module.input_ports_order, module.ports = [name], paths
        with pytest.raises(ModuleFailed):
            module._add("/nowhere", name, str(folder))


def test_download_has_one_file_or_a_directory(case: Case) -> None:
    def run(name: str, **ports: Any) -> Any:
        job = case.remote_job.RemoteJob(case.queue, "a")
        return case.run(case.make("file_modules", name, job=job, **ports)).outputs

    case.client.files = ["/x"]
    assert run("DownloadFile", filename="f") == {"file": "/x"}
    case.client.files = ["/x", "/y"]
    with pytest.raises(ModuleFailed, match="'f' matches 2 files"):
        run("DownloadFile", filename="f")
    (case.folder / "d").mkdir()
    assert run("DownloadDirectory", pathname="d/")["directory"] == str(
        case.folder / "d"
    )
    with pytest.raises(ModuleFailed, match="not a directory"):
        run("DownloadDirectory", pathname="e")


def test_queue_has_its_parts(case: Case) -> None:
    def address(**ports: Any) -> Any:
        ports = {"hostname": "host", "queue": "q", **ports}
        return case.run(case.make("job_modules", "Queue", **ports)).outputs["queue"]

    assert vars(address()) == vars(QueueAddress("host", "q"))
    made = address(
        username="me", port=0, setup_runtime="pbs", need_runtime=" sge, ,pbs"
    )
    assert vars(made) == vars(QueueAddress("me@host:0", "q", "pbs", ("pbs", "sge")))
