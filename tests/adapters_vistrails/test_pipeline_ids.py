"""Job ids of pipelines, made from a module and all modules upstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tej
from tej.job.environment import check_environment
from tej_vistrails import (
    Constant,
    Directory,
    File,
    Gather,
    Job,
    Output,
    Pipeline,
    PipelineError,
    Plan,
    load,
)
from tej_vistrails.pipeline.module import Module
from tests.adapters_vistrails.modules import Listing, Mesh, Relax, Total, write_document


def ids(*modules: Module, name: str = "p") -> dict[str, str]:
    plan = Plan(Pipeline(modules, name=name))
    return dict(plan.points[0].ids)


def chain(size: int = 3, **more: object) -> dict[str, str]:
    mesh = Mesh(size=size)
    return ids(Total(parts=[Relax(structure=mesh, **more).energy]))


def test_ids_are_known_values(tmp_path: Path) -> None:
    """Any change of the id scheme would restart the jobs of all users."""
    (tmp_path / "a.cif").write_text("é\n", "utf-8")
    found = ids(Relax(structure=tmp_path / "a.cif", steps=2, label="é"), Mesh(size=3))
    assert found == {
        "relax": "sig-82bb759b1183dd8c71cc",
        "mesh": "sig-003bb36e0185d91a8bcc",
    }


def test_change_affects_only_downstream_modules() -> None:
    first, other_steps, other_size = chain(), chain(steps=7), chain(4)
    assert first == chain()
    assert first["mesh"] == other_steps["mesh"]
    for name in ("relax", "total"):
        assert len({first[name], other_steps[name], other_size[name]}) == 3


def test_id_depends_on_file_content_and_suffix(tmp_path: Path) -> None:
    def relax(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return ids(Relax(structure=path))["relax"]

    assert relax("a.cif", "x") == relax("elsewhere/b.cif", "x")
    assert len({relax("a.cif", "x"), relax("a.cif", "y"), relax("a.xyz", "x")}) == 3


def test_id_depends_on_files_of_directory(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("x")
    before = ids(Listing(folder=Directory(tmp_path / "d")))
    (tmp_path / "d/__pycache__").mkdir()
    (tmp_path / "d/__pycache__/f.pyc").touch()
    assert before == ids(Listing(folder=tmp_path / "d"))
    (tmp_path / "d/e/f").rename(tmp_path / "d/e/g")
    assert before != ids(Listing(folder=tmp_path / "d"))


def test_id_depends_on_order_of_list() -> None:
    a, b = (Relax(structure=__file__, steps=n, name=f"r{n}").energy for n in (1, 2))
    assert ids(Total(parts=[a, b]))["total"] != ids(Total(parts=[b, a]))["total"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mesh(size=3, name="other"),
        lambda: Mesh(size=Constant(3)),
        lambda: Mesh(size=3, resources=tej.Resources(cpus=8, walltime="1:00:00")),
    ],
)
def test_id_ignores_names_and_resources(make: Callable[[], Module]) -> None:
    (job_id,) = ids(make(), name="another pipeline").values()
    assert job_id == ids(Mesh(size=3))["mesh"]


def test_float_and_int_of_equal_value_match() -> None:
    parts = [Relax(structure=__file__).energy]
    assert ids(Total(parts=parts)) == ids(Total(parts=parts, scale=1.0))
    assert ids(Total(parts=parts)) == ids(Total(parts=parts, scale=Constant(1)))
    with pytest.raises(PipelineError, match="'total', port 'scale': 9007199254740993 "):
        ids(Total(parts=parts, scale=Constant(2**53 + 1)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"scale": 0.0}, {"scale": -0.0}),
        ({"note": "\u00e9"}, {"note": "e\u0301"}),
        ({"note": ""}, {"note": None}),
    ],
)
def test_id_distinguishes_similar_values(
    one: dict[str, object], other: dict[str, object]
) -> None:
    parts = [Relax(structure=__file__).energy]
    assert ids(Total(parts=parts, **one)) != ids(Total(parts=parts, **other))


@pytest.mark.parametrize(
    "environment", [{"A": 1}, {"A b": "1"}, {"A": "\0"}, {"A": "\ud800"}]
)
def test_invalid_environment_names_its_module(environment: dict[str, object]) -> None:
    body = {"environment": environment, "__module__": __name__}
    with pytest.raises(PipelineError, match="Module 'mesh': .*'A"):
        ids(type("Mesh", (Mesh,), body)(size=3))


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"environment": {"A": "b"}}, {"command": "seq {size}  >{out}"}],
)
def test_id_depends_on_class_attributes(change: dict[str, object]) -> None:
    other = type("Mesh", (Mesh,), {"__module__": __name__, **change})
    assert ids(other(size=3))["mesh"] != ids(Mesh(size=3))["mesh"]


def test_id_depends_on_files_of_class(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("echo 1\n")
    body = {"uploads": ("run.sh",), "command": "sh run.sh", "source_folder": tmp_path}
    cls: type[Job] = type("Script", (Job,), {"__module__": __name__, **body})
    before = ids(cls())
    assert before == ids(cls())
    (tmp_path / "run.sh").write_text("echo 2\n")
    assert before != ids(cls())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"uploads": ("start.sh",)}, "the job already has a file 'start.sh'"),
        ({"uploads": ("a", "sub/a")}, "uploads: the job already has a file 'a'"),
        ({"uploads": ("a",), "out": "a"}, "output 'a' is also a file that is uploaded"),
        ({"uploads": ("sub",), "out": "sub/a"}, "output 'sub/a' is also a file"),
        ({"uploads": ("absent",)}, "uploads: '.*absent' does not exist"),
    ],
)
def test_files_of_a_job_do_not_collide(
    tmp_path: Path, body: dict[str, object], words: str
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("start.sh", "a", "sub/a"):
        (tmp_path / name).touch()
    hints = {"out": Output} if "out" in body else {}
    body = {"__annotations__": hints, "command": "true", **body}
    with pytest.raises(PipelineError, match=f"Module 'bad'.*{words}"):
        ids(type("Bad", (Job,), {"source_folder": tmp_path, **body})())
    # An output may be a new file in a directory that is uploaded.
    body |= {"__annotations__": {"out": Output}, "uploads": ("sub",), "out": "sub/b"}
    assert ids(type("Good", (Job,), {"source_folder": tmp_path, **body})())


def test_code_is_that_of_the_loaded_class(tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    head = "from tej_vistrails import *\nclass A(PythonScript):\n"
    code = "    def main():\n        print({})\npipeline = Pipeline(A())\n"
    path.write_text(head + code.format(1))
    pipeline = load(path).pipeline
    # The lines of the file no longer belong to the class.
    path.write_text(head + "    n: int = 1\n" + code.format(2))
    (job,) = Plan(pipeline).jobs.values()
    assert "print(1)" in str((job.spec.files or {})["main.py"])


def test_files_of_a_long_list_keep_their_order(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.touch()
    (job,) = Plan(Pipeline(Listing(folder=Gather([part] * 1001)))).jobs.values()
    names = [name for name in job.spec.files or {} if name.startswith("inputs/")]
    assert names == sorted(names)
    assert names[-1] == "inputs/folder/1000"


def test_missing_file_names_module_and_port(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="'relax', port 'structure': .*absent"):
        ids(Relax(structure=File(tmp_path / "absent")))


def test_equal_work_is_one_job_of_the_grid() -> None:
    mesh = Mesh(size=3)
    grid = Pipeline(Relax(structure=mesh)).explore(steps=range(5), label=["a", "b"])
    plan = Plan(grid)
    assert len(plan.jobs) == 11
    assert [one.is_wanted for one in plan.jobs.values()].count(True) == 10
    first, second, *_ = plan.jobs.values()
    assert (first.title, second.title) == ("mesh", "relax steps=0 label=a")
    spec = plan.jobs[plan.points[3].ids["relax"]].spec
    document = json.loads(str((spec.files or {})["module.json"]))
    assert document["inputs"] == {
        "structure": "inputs/structure.txt",
        "steps": 1,
        "label": "b",
    }
    assert spec.parameters == {"steps": "1", "label": "b"}


def test_values_are_stored_as_parameters() -> None:
    hints = {"größe": int, "text": str, "flag": bool, "TEJ_JOB_ID": int, "1st": int}
    hints |= {"some": list[bool]}
    body = {"__annotations__": hints, "command": "true", "__module__": __name__}
    job = type("Values", (Job,), body)(
        größe=1,
        text="x" * 300,
        flag=True,
        TEJ_JOB_ID=1,
        name="a-b",
        **{"1st": 5},
        some=[],
    )
    grid = {"a-b.größe": [1, 2], "a-b.some": [[True], []]}
    plan = Plan(Pipeline(job).explore(grid))
    first, *_ = (one.spec.parameters for one in plan.jobs.values())
    explored = {"a_b_gr__e": "1", "gr__e": "1", "a_b_some": "[true]", "some": "[true]"}
    assert first == {**explored, "flag": "true", "_1st": "5"}
    check_environment(first)


def test_ids_are_the_same_from_another_process(tmp_path: Path) -> None:
    path = write_document(tmp_path)
    words = [sys.executable, "-m", "tej_vistrails", "ids", str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    lists = {
        subprocess.run(
            words,
            env={
                **environment,
                "HOME": home,
                "PYTHONHASHSEED": home[-1],
                "LC_ALL": "C",
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for home in (f"{tmp_path}/1", f"{tmp_path}/2")
    }
    (text,) = lists
    assert [line.split()[1] for line in text.splitlines()] == ["mesh", "relax", "sum"]
