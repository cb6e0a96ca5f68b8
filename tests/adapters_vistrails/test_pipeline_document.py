"""Documents of pipelines: JSON, YAML and Python files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tej
from tej_vistrails import Exploration, Pipeline, PipelineError, Plan, load
from tej_vistrails.pipeline.options import Loaded
from tests.adapters_vistrails.modules import write_document

CLASSES = """\
from tej_vistrails import File, Job, Output, Pipeline

class Mesh(Job):
    size: int
    out: Output = "mesh.txt"
    command = "seq {size} >{out}"

class Relax(Job):
    structure: File
    steps: int = 1
    uploads = ("helper.sh",)
    command = "sh helper.sh {structure} {steps}"
"""


def test_yaml_and_json_documents_are_equal(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    path = write_document(tmp_path)
    document = yaml.safe_load(path.read_text("utf-8"))
    (tmp_path / "demo.json").write_text(json.dumps(document))
    one, other = Plan(load(path).pipeline), Plan(load(tmp_path / "demo.json").pipeline)
    assert list(one.jobs) == list(other.jobs)
    assert one.name == other.name == "demo"


def test_document_uses_classes_of_python_files(tmp_path: Path) -> None:
    (tmp_path / "classes.py").write_text(CLASSES)
    (tmp_path / "helper.sh").write_text("cat $1\n")
    (tmp_path / "python.py").write_text(
        "from classes import *\n"
        "destination = 'local:'\n"
        "relax = Relax(structure=Mesh(size=2))\n"
        "pipeline = Pipeline(relax).explore(steps=[1, 2])\n"
    )
    (tmp_path / "document.json").write_text(
        json.dumps(
            {
                "imports": ["classes.py"],
                "queue": "~/q",
                "modules": {
                    "relax": {
                        "type": "Relax",
                        "inputs": {"structure": {"from": "mesh"}},
                        "resources": {"cpus": 2},
                    },
                    "mesh": {"type": "Mesh", "inputs": {"size": 2}},
                },
                "explore": {"steps": [1, 2]},
            }
        )
    )
    python, document = load(tmp_path / "python.py"), load(tmp_path / "document.json")
    assert (python.destination, document.queue) == ("local:", "~/q")
    # The command line takes precedence over the document.
    files = (tmp_path / "python.py", tmp_path / "document.json")
    given = [
        Loaded(file, (), (), None, queue, None).queue
        for file in files
        for queue in (None, "q")
    ]
    assert given == [tej.DEFAULT_TEJ_DIR, "q", "~/q", "q"]
    assert isinstance(document.pipeline, Exploration)
    assert document.pipeline.base["relax"].resources.cpus == 2
    one, other = Plan(python.pipeline), Plan(document.pipeline)
    assert sorted(one.jobs) == sorted(other.jobs)
    assert len(one.jobs) == 3


def test_local_files_are_relative_to_the_document(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("x")
    modules = {
        "data": {"type": "Directory", "path": "data"},
        "text": {"type": "File", "path": "data/a.txt"},
        "all": {"type": "Gather", "inputs": {"files": [{"from": "text"}]}},
        "list": {
            "inputs": {"a": {"from": "data.path"}, "b": {"from": "all.files"}},
            "command": "ls {a} {b}",
        },
    }
    (tmp_path / "p.json").write_text(json.dumps({"modules": modules}))
    pipeline = load(tmp_path / "p.json").pipeline
    assert isinstance(pipeline, Pipeline)
    plan = Plan(pipeline)
    (job,) = plan.jobs.values()
    files = job.spec.files or {}
    assert files["inputs/a"] == tmp_path / "data"
    assert files["inputs/b/000.txt"] == tmp_path / "data/a.txt"


def test_paths_on_ports_are_relative_to_the_document(tmp_path: Path) -> None:
    (tmp_path / "classes.py").write_text(CLASSES)
    for name in ("helper.sh", "a.cif", "b.cif"):
        (tmp_path / name).write_text(name)
    relax = {"type": "Relax", "inputs": {"structure": "a.cif"}}
    document = {"imports": ["classes.py"], "modules": {"relax": relax}}
    path = tmp_path / "p.json"
    for explore in ({}, {"structure": ["a.cif", "b.cif"]}):
        path.write_text(json.dumps({**document, "explore": explore}))
        plan = Plan(load(path).pipeline)
        files = [job.spec.files or {} for job in plan.jobs.values()]
        sent = [one["inputs/structure.cif"] for one in files]
        assert sent == [tmp_path / one for one in explore.get("structure", ["a.cif"])]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "must have a dictionary `modules`"),
        ({"modules": {"a": 1}}, "Module 'a' is not a dictionary"),
        ({"modules": {}, "jobs": 1}, "unknown key jobs"),
        ({"modules": {"a": {"comand": "x"}}}, "Module 'a': unknown key comand"),
        ({"modules": {"a": {"type": "Nope"}}}, "no job class 'Nope' in the imported"),
        (
            {"modules": {"a": {"command": "x", "inputs": {"b": {"from": "c.d"}}}}},
            "There is no module 'c'",
        ),
        (
            {"modules": {"a": {"command": "x", "inputs": {"b": {"c": "d"}}}}},
            "Module 'a', port 'b': .* is not of the form",
        ),
        (
            {
                "modules": {
                    "a": {"command": "x", "inputs": {"i": {"from": "c.nothing"}}},
                    "c": {"command": "x", "outputs": {"o": "o"}},
                }
            },
            "port 'i': module 'c' has no output 'nothing' \\(outputs: o\\)",
        ),
        (
            {
                "modules": {
                    "a": {"command": "x", "inputs": {"i": {"from": "b"}}},
                    "b": {"command": "x", "inputs": {"i": {"from": "a"}}},
                }
            },
            r"'b', port 'i': the connection forms a cycle \(a <- b <- a\)",
        ),
        (
            {"modules": {"a": {"command": "x", "resources": {"cpu": 1}}}},
            "Module 'a', resources: .*cpu",
        ),
        ({"modules": {"a": {"command": 1}}}, "'a': command must be text, not 1"),
        (
            {"modules": {"a": {"command": "x", "environment": {"A": True}}}},
            "'a', environment: the value of A must be text, not True: put the value",
        ),
        ({"modules": {"a": {"command": "x", "version": 1.5}}}, "version of .* not 1.5"),
        ({"modules": {"a": {"inputs": []}}}, "inputs must be a dictionary, not"),
        ({"modules": {}, "imports": "a.py"}, "imports must be a list, not 'a.py'"),
        ({"modules": {"a": {"type": "File"}}}, "'a': the key `path` is missing"),
        ({"modules": {}, "imports": ["absent.py"]}, "absent.py cannot be imported"),
    ],
)
def test_mistake_in_a_document_is_named(
    tmp_path: Path, document: object, words: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document))
    with pytest.raises(PipelineError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "a.json is not valid"),
        ("a.yaml", "a: [", "a.yaml is not valid"),
        ("a.yaml", "modules: {no: {}}", "the key no is not text: put it in quotes"),
        ("a.yaml", "a: &x [1, *x]", "must have a dictionary `modules`"),
        ("a.yaml", "modules:\n  b: {}\n  c: {}\n  b: 1", "the key 'b' occurs twice"),
        ("a.json", '{"modules": {"b": {}, "b": 1}}', "the key 'b' occurs twice"),
        ("a.py", "x = 1", "must set the variable `pipeline`"),
        ("a.py", "x = 1\ny = z", "a.py, line 2: NameError: name 'z' is not"),
        ("a.py", "x = 1\ny z", r"a.py: SyntaxError: .*line 2"),
        (
            "a.py",
            "import tej_vistrails\ntej_vistrails.Pipeline([])",
            "a.py, line 2: Pipeline 'pipeline' has no modules",
        ),
    ],
)
def test_file_without_a_pipeline_is_named(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PipelineError, match=words):
        load(tmp_path / name)
