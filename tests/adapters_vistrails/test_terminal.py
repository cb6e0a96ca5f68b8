"""`python -m tej_vistrails`, as a user at a terminal runs it; and what is installed."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate, wait_until

import tej
from tej_vistrails.client import find_command
from tej_vistrails.engine import installation
from tests.adapters_vistrails.conftest import CHECKOUT

Document = dict[str, Any]
Shell = Callable[..., Document]


class Terminal:
    """Runs it in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tej_vistrails", *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: object) -> tuple[int, str, str]:
        process = self.start(*words)
        stdout, stderr = process.communicate(timeout=200)
        assert "Traceback" not in stderr, stderr
        return process.returncode, stdout, stderr

    def write(self, document: Document) -> Path:
        path = self.folder / "pipeline.json"
        path.write_text(json.dumps(document))
        return path


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    folder = tmp_path / "place"
    folder.mkdir()
    return Terminal(folder)


def printing(document: Document) -> Document:
    document["modules"]["out"] = {"type": "StandardOutput"}
    document["connections"].append(["job.stdout", "out.value"])
    return document


def test_a_pipeline_is_executed_suspended_and_resumed(
    terminal: Terminal, shell: Shell, gate: Gate, library: tej.RemoteQueue
) -> None:
    terminal.write(printing(shell(f"{gate.wait}; echo result\n")))
    status, stdout, _ = terminal("ids", "pipeline.json")
    job_id, name = stdout.split()
    assert (status, name) == (0, "job")
    for _ in range(2):
        status, stdout, stderr = terminal("run", "pipeline.json")
        assert (status, stdout) == (5, "")
        assert stderr == f"job: suspended: Job is running ({job_id})\n"
    gate.open()
    status, stdout, stderr = terminal("run", "pipeline.json", "--wait")
    assert (status, stdout) == (0, "result\n\n")
    assert library.status(job_id).succeeded
    records = json.loads((terminal.folder / "pipeline.json.jobs").read_text())["jobs"]
    assert [one["parameters"]["job_id"] for one in records.values()] == [job_id]


def test_a_failed_module_is_told_with_status_1(
    terminal: Terminal, shell: Shell
) -> None:
    terminal.write(printing(shell("echo why >&2; exit 3\n", fail_on_error=True)))
    status, stdout, stderr = terminal("run", "--wait", "pipeline.json")
    assert (status, stdout) == (1, "")
    assert "job: failed: Job 'vistrails_module_" in stderr
    assert stderr.endswith("failed with exit code 3\nwhy\n")


def test_a_failed_job_is_told_though_the_pipeline_goes_on(
    terminal: Terminal, shell: Shell
) -> None:
    terminal.write(printing(shell("echo out; exit 3\n")))
    status, stdout, stderr = terminal("run", "--wait", "pipeline.json")
    assert (status, stdout) == (0, "out\n\n")
    assert "failed with exit code 3: the workflow goes on" in stderr


def test_ctrl_c_leaves_the_job_running(
    terminal: Terminal, shell: Shell, gate: Gate, library: tej.RemoteQueue
) -> None:
    terminal.write(printing(shell(f"{gate.wait}; echo result\n")))
    process = terminal.start("run", "--wait", "pipeline.json")
    assert process.stderr is not None
    assert "suspended" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "jobs go on" in stderr
    (job,) = library.jobs()
    assert not job.state.final
    gate.open()
    assert terminal("run", "--wait", "pipeline.json")[1] == "result\n\n"


def test_waiting_ends_when_its_time_is_over(
    terminal: Terminal, shell: Shell, gate: Gate
) -> None:
    terminal.write(shell(f"{gate.wait}\n"))
    status, _, stderr = terminal("run", "--wait", "--timeout", "0.5", "pipeline.json")
    assert status == 5
    assert "have not ended" in stderr
    gate.open()


def test_branches_of_a_pipeline_run_at_the_same_time(
    terminal: Terminal, shell: Shell, gate: Gate, library: tej.RemoteQueue
) -> None:
    document = shell(f"{gate.wait}; echo one\n")
    document["modules"]["opener"] = {
        "type": "SubmitShellJob",
        "inputs": {"source": f"touch '{gate.path}'; echo two\n"},
    }
    document["connections"].append(["queue.queue", "opener.queue"])
    terminal.write(document)
    # The first waits for what only the second does.
    assert terminal("run", "--wait", "pipeline.json")[0] == 0
    assert [job.state for job in library.jobs()] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"modules": {"a": {"type": "Absent"}}}', "There is no module"),
        ("{", "cannot be read"),
    ],
)
def test_a_pipeline_that_is_none_is_named(
    terminal: Terminal, text: str, words: str
) -> None:
    (terminal.folder / "pipeline.json").write_text(text)
    status, stdout, stderr = terminal("run", "pipeline.json")
    assert (status, stdout) == (1, "")
    assert words in stderr


def test_wrong_usage_has_status_2(terminal: Terminal) -> None:
    assert terminal("run", "absent.json")[0] == 2
    assert terminal("walk")[0] == 2


def test_the_package_is_installed_with_the_words_for_its_tej(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, stdout, _ = terminal("install")
    assert status == 0
    target = Path(os.environ["HOME"]) / ".vistrails/userpackages/tej_vistrails"
    assert stdout.strip() == str(target)
    assert (target.parent / "__init__.py").exists()
    names = {path.stem for path in target.glob("*.py")}
    assert names == set(installation.LOADED_BY_VISTRAILS)
    monkeypatch.setattr("tej_vistrails.client._HERE", str(target))
    assert find_command() == [sys.executable, "-m", "tej"]
    # Again, as after an update
    (target / "old.py").touch()
    assert terminal("install")[0] == 0
    assert not (target / "old.py").exists()


def test_what_somebody_else_has_put_there_stays(
    terminal: Terminal, tmp_path: Path
) -> None:
    mine = tmp_path / "packages/tej_vistrails"
    mine.mkdir(parents=True)
    (mine / "mine.py").touch()
    status, _, stderr = terminal("install", "--directory", mine.parent)
    assert status == 1
    assert "is not from tej" in stderr
    assert (mine / "mine.py").exists()


def in_docs(language: str) -> str:
    """The example in that language."""
    text = (CHECKOUT / "docs/vistrails.md").read_text("utf-8")
    return text.split(f"```{language}\n")[1].split("```")[0]


@pytest.fixture
def own_queue(home: Path) -> Iterator[tej.RemoteQueue]:
    """That in the home of who tries the examples."""
    queue = tej.RemoteQueue("local:", home / ".tej", "default")
    queue.setup()
    yield queue
    queue.cleanup(kill=True, grace=0)


def test_the_example_in_python_works(
    terminal: Terminal, own_queue: tej.RemoteQueue
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", in_docs("python")],
        env=terminal.environment,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("hello\n\n", "")
    assert len(own_queue.jobs()) == 1


def test_the_example_in_json_works(
    terminal: Terminal, own_queue: tej.RemoteQueue
) -> None:
    (terminal.folder / "sort.json").write_text(in_docs("json"))
    _, ids, _ = terminal("ids", "sort.json")
    assert ids.startswith("vistrails_content_b4c0d")
    assert terminal("run", "sort.json", "--wait")[:2] == (0, "1\n2\n3\n\n")
    assert [f"{job.job_id} job\n" for job in own_queue.jobs()] == [ids]


def test_what_is_installed_needs_nothing_that_is_not() -> None:
    known = set(installation.LOADED_BY_VISTRAILS)
    for name in known:
        tree = ast.parse((installation.PACKAGE / f"{name}.py").read_text())
        for node in ast.walk(tree):
            # The engine and the library client are only imported without VisTrails.
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                first = node.module.partition(".")[0]
                assert first in known | {"engine", "library_client"}, name


def test_without_an_engine_that_is_python_3_the_import_names_the_way_out(
    tmp_path: Path,
) -> None:
    from tests.adapters_vistrails.environment import find_python27

    python = find_python27()
    if python is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to have python2.7")
        pytest.skip("python2.7 is missing")
    target = installation.install(tmp_path)
    # All of it can be read, also what only VisTrails' window uses.
    subprocess.run([python, "-m", "compileall", "-q", target], check=True)
    code = "import tej_vistrails.vistrails_api"
    done = subprocess.run(
        [python, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "ImportError: VisTrails cannot be imported" in done.stderr
    assert "pip install tej[vistrails]" in done.stderr


def test_jobs_are_not_forgotten_by_a_reader_of_the_records(
    terminal: Terminal, shell: Shell, gate: Gate
) -> None:
    terminal.write(shell(f"{gate.wait}\n"))
    terminal("run", "pipeline.json", "--jobs", "elsewhere")
    assert (terminal.folder / "elsewhere").exists()
    assert not (terminal.folder / "pipeline.json.jobs").exists()
    wait_until(lambda: (terminal.folder / "elsewhere").stat().st_size, "it is written")
    gate.open()
