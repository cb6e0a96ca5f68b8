"""`python -m tej_vistrails`: the commands on pipelines, and their exit statuses."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import Gate, wait_until

import tej
from tej_vistrails import Pipeline, load
from tej_vistrails.__main__ import start
from tej_vistrails.pipeline.options import change
from tej_vistrails.pipeline.ro_crate import METADATA
from tests.adapters_vistrails.conftest import CHECKOUT
from tests.adapters_vistrails.modules import write_document

Terminal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    queue_path: Path,
    tmp_path: Path,
) -> Iterator[Terminal]:
    """Run a command in this process; return exit status, stdout and stderr."""
    monkeypatch.setenv("TEJ_DESTINATION", "local:")
    monkeypatch.setenv("TEJ_QUEUE", str(queue_path))
    monkeypatch.setenv("TEJ_RUNTIME", "default")
    monkeypatch.chdir(tmp_path)
    handlers = logging.getLogger("tej").handlers[:]

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tej_vistrails", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            start()
        captured = capfd.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    yield run
    logging.getLogger("tej").handlers[:] = handlers
    tej.close_shared_queues()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("run", "absent.yaml"), 2, "does not exist"),
        (("walk",), 2, "No such command"),
        (("run", "demo.yaml", "--set", "steps"), 2, "not of the form --set PORT=VALUE"),
        (("run", "demo.yaml", "--set", "steps=x"), 1, "'x' is not of type int"),
        (("ids", "demo.yaml", "--explore", "step=1"), 1, "'step' matches no port"),
        (("fetch", "demo.yaml", "-m", "no"), 1, "has no job module 'no'"),
        (("fetch", "demo.yaml", "-d", "demo.yaml"), 2, "'demo.yaml' is a file"),
    ],
)
def test_wrong_usage_is_named(
    terminal: Terminal, tmp_path: Path, words: list[str], status: int, message: str
) -> None:
    write_document(tmp_path)
    found, _, stderr = terminal(*words)
    assert found == status
    assert message in stderr


def test_pipeline_from_submission_to_results(
    terminal: Terminal, tmp_path: Path
) -> None:
    path = write_document(tmp_path)
    status, stdout, _ = terminal("status", path)
    assert (status, stdout.count("not submitted")) == (3, 3)
    status, stdout, stderr = terminal("run", path, "--report", "report.html")
    assert (status, stdout.count("succeeded")) == (0, 3)
    assert "3 of 3 jobs started" in stderr
    assert "data:image/svg+xml;base64" in (tmp_path / "report.html").read_text("utf-8")
    ids = [line.split() for line in terminal("ids", path)[1].splitlines()]
    assert [line.split()[1:] for line in stdout.splitlines()] == ids
    assert "0 of 3 jobs started" in terminal("run", path)[2]
    assert terminal("wait", path)[0] == terminal("status", path)[0] == 0
    assert terminal("fetch", path, "-d", "out")[:2] == (0, "out/sum\n")
    assert (tmp_path / "out/sum/total.json").read_text() == '{"total": 6}'
    terminal("fetch", path, "-d", "out", "-m", "relax")
    assert (tmp_path / "out/relax/energy.json").read_text() == '{"energy": 6}\n'
    status, svg, _ = terminal("graph", path)
    assert (status, svg.count("<rect"), svg.count("<path")) == (0, 7, 3)
    assert svg.count(">succeeded<") == 3
    assert "succeeded" not in terminal("graph", path, "--no-states")[1]
    assert terminal("crate", path, "crate")[:2] == (0, f"crate/{METADATA}\n")
    check_crate(tmp_path / "crate")
    assert "is not empty" in terminal("crate", path, "crate")[2]


def check_crate(folder: Path) -> None:
    """Check that each reference has an entity, and each file entity a file."""
    document = json.loads((folder / METADATA).read_text("utf-8"))
    entities = {one["@id"]: one for one in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    text = json.dumps(document["@graph"])
    references = set(re.findall(r'\{"@id": "([^"]*)"\}', text))
    assert {one for one in references - entities.keys() if "://" not in one} == set()
    files = {one for one in entities if "File" in entities[one]["@type"]}
    assert files == {"demo.yaml", "sum/total.json"}
    assert all((folder / one).is_file() for one in files)
    assert entities["./"]["mainEntity"] == {"@id": "demo.yaml"}
    actions = [one for one in entities.values() if one["@type"] == "CreateAction"]
    assert len(actions) == 4
    assert all(one["startTime"] <= one["endTime"] for one in actions)
    parts = [one for one in entities.values() if one.get("name") == "parts"]
    assert [one["value"] for one in parts] == ['["relax:energy.json"]']


def test_failed_module_is_printed_with_its_log(
    terminal: Terminal, tmp_path: Path
) -> None:
    path = write_document(tmp_path)
    status, stdout, stderr = terminal("run", path, "--explore", "steps=2,13")
    assert status == 1
    assert "Module 'relax' (steps=13) failed: Job 'sig-" in stderr
    assert "\\x1b[31mno convergence" in stderr
    assert "Not started, because a module upstream did not succeed: sum" in stderr
    assert stdout.count("succeeded") == 3
    assert "mesh\n" in stdout
    assert "relax steps=13\n" in stdout
    assert terminal("run", path, "--set", "steps=2")[0] == 0
    history = [line.split()[2:] for line in terminal("history", path)[1].splitlines()]
    relax = {words[0]: words[3:] for words in history if words[2] == "relax"}
    assert relax.keys() == {"succeeded", "failed"}
    assert sorted(relax["failed"]) == ["'x'", "label=naïve", "steps=13"]


def test_jobs_run_on_without_the_client(
    terminal: Terminal, tmp_path: Path, gate: Gate
) -> None:
    path = tmp_path / "p.json"
    modules = {"wait": {"command": gate.wait}, "other": {"command": "true"}}
    path.write_text(json.dumps({"modules": modules}))
    assert terminal("run", path, "--no-wait")[0] == 5
    assert terminal("wait", path, "--timeout", "0.1")[0] == 5
    client = subprocess.Popen(
        [sys.executable, "-m", "tej_vistrails", "run", path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stderr is not None
    assert client.stderr.readline() == "0 of 2 jobs started\n"
    client.send_signal(signal.SIGINT)
    assert "Interrupted; the jobs continue" in client.communicate()[1]
    assert client.returncode == 130
    wait_until(lambda: "succeeded" in terminal("status", path)[1], "one job has ended")
    assert terminal("status", path)[0] == 5
    status, stdout, _ = terminal("kill", path)
    assert (status, stdout.count("Killed sig-")) == (0, 1)
    assert terminal("wait", path)[0] == 1


def test_examples_of_the_documentation_work(
    terminal: Terminal, tmp_path: Path, queue_path: Path
) -> None:
    text = (CHECKOUT / "docs/pipelines.md").read_text("utf-8")
    for language, name in (("yaml", "silicon.yaml"), ("python", "silicon.py")):
        example = text.split(f"```{language}\n")[1].split("```")[0]
        (tmp_path / name).write_text(example, "utf-8")
    python, yaml = (
        terminal("ids", tmp_path / name) for name in ("silicon.py", "silicon.yaml")
    )
    assert (python[0], yaml[0]) == (0, 0)
    assert terminal("run", "silicon.yaml")[0] == 0
    assert load(tmp_path / "silicon.yaml").destination is None


def test_explored_port_has_one_list_of_values(tmp_path: Path) -> None:
    pipeline = load(write_document(tmp_path)).pipeline
    assert isinstance(pipeline, Pipeline)
    grid = change(pipeline.explore({"relax.steps": [1, 2]}), (), ("steps=3,4",))
    assert [point for point, _ in grid.points] == [{"steps": 3}, {"steps": 4}]
    assert change(grid, ("relax.steps=5",), ()).points[0][0] == {}
