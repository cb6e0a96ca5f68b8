"""Pipelines without a server: ports, connections, checks and explorations."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tej_vistrails import (
    Constant,
    Exploration,
    File,
    Gather,
    Job,
    Output,
    Pipeline,
    PipelineError,
    PythonScript,
)
from tej_vistrails.pipeline.stage import follow
from tests.adapters_vistrails.modules import Listing, Mesh, Relax, Total


class Numbers(Job):
    numbers: list[int]
    command = "echo {numbers}"


class Kind(enum.IntEnum):
    ONE = 1


def relax_two() -> Pipeline:
    mesh = Mesh(size=Constant(3, name="size"))
    parts = [Relax(structure=mesh, steps=n, name=f"r{n}").energy for n in (1, 2)]
    return Pipeline(Total(parts=Gather(parts)), name="two")


def test_upstream_modules_are_part_of_the_pipeline() -> None:
    pipeline = relax_two()
    names = ["size", "mesh", "r1", "r2", "gather", "total"]
    assert [one.name for one in pipeline] == names
    assert [one.name for one in pipeline.jobs] == ["mesh", "r1", "r2", "total"]
    assert (pipeline["r1"].steps, pipeline["r1"].label) == (1, "")


def test_equal_class_names_are_numbered() -> None:
    pipeline = Pipeline([Mesh(size=1), Mesh(size=2), Mesh(size=3, name="mesh2")])
    assert sorted(one.name for one in pipeline) == ["mesh", "mesh2", "mesh3"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Mesh(size="3"), "Module 'Mesh', port 'size': '3' is not of type int"),
        (lambda: Mesh(size=True), "port 'size': True is not of type int"),
        (lambda: Mesh(size=3, width=4), "'Mesh' has no input port 'width'.*: size"),
        (lambda: Mesh(size=Mesh(size=1)), "'size': expected int, but output 'out' of"),
        (
            lambda: Relax(structure=Mesh(size=1).out, name="a", steps=1.5),
            "Module 'a', port 'steps'",
        ),
        (lambda: Relax(structure=3), "port 'structure': 3 is not a path"),
        (lambda: Listing(folder=Mesh(size=1).out), "expected Directory, but .* File"),
        (lambda: Total(parts=Mesh(size=1).out), r"expected list\[File\], but"),
        (lambda: Total(parts="a"), "port 'parts': 'a' is not a list"),
        (lambda: Total(parts=[], scale=float("nan")), "not a finite number"),
        (lambda: Total(parts=[], scale=2**53 + 1), "be represented exactly as a float"),
        (lambda: Total(parts=[], scale=10**400), "be represented exactly as a float"),
        (lambda: Mesh(size=10**5000), "port 'size': the integer has more than 10000"),
        (lambda: Mesh(size=Kind.ONE), "port 'size': <Kind.ONE: 1> is not of type int"),
        (lambda: Relax(label=Path("a")), r"Path\('a'\) is not of type str"),
        (lambda: Relax(label="\ud800"), "'label': '.ud800' is not valid Unicode text"),
        (lambda: Total(parts={"a"}), "port 'parts': {'a'} is not a list"),
        (lambda: Numbers(numbers=b"ab"), "port 'numbers': b'ab' is not a list"),
        (lambda: Mesh(size=1, resources={"cpus": 2}), "must be a tej.Resources"),
        (lambda: Total(parts=["a"]).parts.append("b"), "no attribute 'append'"),
        (lambda: Relax(structure=Relax(structure="x")), "exactly one output: name the"),
        (lambda: Mesh(size=1, name="a b"), "'a b' is not a valid module name"),
        (lambda: Mesh(size=1).nothing, "has no port 'nothing'"),
        (lambda: Pipeline(Relax(), name="p"), "'relax', port 'structure': no value"),
        (lambda: Pipeline([File("x")]), "has no job modules"),
        (lambda: Pipeline([]), "has no modules"),
        (
            lambda: Pipeline([Mesh(size=1, name="a"), Mesh(size=2, name="a")]),
            "two modules 'a'",
        ),
        (lambda: Constant({}), "does not fit any port type"),
        (lambda: Job(), "class Job has no command"),
        (lambda: relax_two()["r3"], r"no module 'r3' \(modules: size, "),
    ],
)
def test_mistake_names_module_and_port(make: Callable[[], object], words: str) -> None:
    with pytest.raises((PipelineError, AttributeError), match=words):
        make()


def test_slash_makes_an_output_a_directory() -> None:
    class Unpack(Job):
        folder: Output = "data/"
        command = "mkdir data"

    listing = Listing(folder=Unpack().folder)
    assert [one.name for one in Pipeline(listing)] == ["unpack", "listing"]
    with pytest.raises(PipelineError, match=r"expected File, but .* Directory"):
        Relax(structure=Unpack().folder)


def test_cycle_names_the_connection() -> None:
    first = Relax(name="first")
    second = Relax(structure=first.energy, name="second")
    first.structure = second.energy
    words = r"port 'structure': the connection forms a cycle \(second <- first <- sec"
    with pytest.raises(PipelineError, match=words):
        Pipeline(second)


def test_pipeline_follows_a_changed_connection() -> None:
    total = Total(parts=[Relax(structure="x", name="old").energy])
    pipeline = Pipeline(total)
    total.parts = [Relax(structure="x", name="new").energy]
    pipeline.check()
    assert [one.name for one in pipeline] == ["new", "total"]


def test_long_chains_have_no_depth_limit() -> None:
    module = Relax(structure="x")
    for _ in range(3000):
        module = Relax(structure=module.energy)
    assert len(Pipeline(module).modules) == 3001


def define(**body: object) -> type[Job]:
    return type("Bad", (Job,), {"__module__": __name__, **body})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"command": "x {size}"}, r"contains '\{size\}', but the class has no port"),
        ({"__annotations__": {"a": dict}}, "Port 'a' of module class Bad has the ann"),
        ({"__annotations__": {"a": int}, "a": "x"}, "Port 'a' .*: 'x' is not of type"),
        ({"__annotations__": {"a": Output}}, "must be a path in the job's directory"),
        ({"__annotations__": {"a": Output}, "a": "../b"}, "is not below the job's dir"),
        (
            {"__annotations__": {"a": Output}, "a": "inputs/b"},
            "directory of the inputs",
        ),
        ({"__annotations__": {"name": int}}, "has a reserved name"),
        ({"__annotations__": {"version": int}, "version": 2}, "has a reserved name"),
        ({"__annotations__": {"a": "Unknown"}}, "'Unknown' is not defined"),
        ({"script": "absent.sh"}, "script of module class Bad cannot be read"),
        ({"version": 1.10}, "version of module class Bad must be text or an integer"),
        ({"version": True}, "must be text or an integer, not True"),
        (
            {"command": "x {é}", "__annotations__": {"é": int}},
            "contains '{é}', but a port in a command needs a name of ASCII letters",
        ),
    ],
)
def test_class_with_a_mistake_is_refused(body: dict[str, object], words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        define(**body)


def test_python_script_with_a_syntax_error_is_refused() -> None:
    words = r"code of module class Bad is not valid Python: .* \(line 2\)"
    with pytest.raises(PipelineError, match=words):
        type("Bad", (PythonScript,), {"source": "\nfor"})


def test_values_are_quoted_in_the_command() -> None:
    job = Relax(structure="x", label="a'b $HOME")
    text = job.start_script(
        {"structure": "inputs/s", "steps": 2, "label": job.label, "energy": "e"}
    )
    assert "$((lines * 2)) 'a'\"'\"'b $HOME' >e" in text
    # Braces of shell syntax are not references to ports.
    other = define(command="echo ${HOME} {} {a,b}; awk '{print $1}'")()
    assert other.command in other.start_script({})


def test_exploration_is_a_grid_with_shared_modules() -> None:
    grid = relax_two().explore({"r1.steps": [10, 20]}, size=[1, 2], scale=[0.5])
    assert isinstance(grid, Exploration)
    assert [tuple(point.values()) for point, _ in grid.points] == [
        (10, 1, 0.5),
        (10, 2, 0.5),
        (20, 1, 0.5),
        (20, 2, 0.5),
    ]
    first, third = grid.points[0][1], grid.points[2][1]
    assert (third["r1"].steps, third["r1"].structure.module.size.port) == (20, "value")
    assert third["total"].scale == 0.5
    # The base is not changed, and an unchanged module stays the same object.
    assert grid.base["r1"].steps == 1
    assert relax_two().with_values({"scale": 3})["mesh"].name == "mesh"
    assert first["mesh"] is not grid.base["mesh"]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"steps": [1]}, "'steps' matches several ports: r1.steps, r2.steps"),
        ({"nothing": [1]}, "'nothing' matches no port"),
        ({"r1.nothing": [1]}, "Module 'r1' has no port 'nothing'"),
        ({"scale": []}, "'scale' has no values"),
        ({"r1.label": "ab"}, "'r1.label' must be a list, not 'ab'"),
        (
            {"total.scale": [1], "scale": [2]},
            "'total.scale' and 'scale' name the same port",
        ),
        ({"scale": 5}, "'scale' must be a list, not 5"),
        ({"scale": {5}}, r"'scale' must be a list, not \{5\}"),
        ({"scale": ["x"]}, "Module 'total', port 'scale'"),
        ({"size": ["x"]}, "Module 'size', port 'value': 'x' is not of type int"),
    ],
)
def test_wrong_parameter_of_an_exploration_is_named(
    grid: dict[str, Any], words: str
) -> None:
    with pytest.raises(PipelineError, match=words):
        relax_two().explore(grid)


def test_values_in_quotes_are_not_executed() -> None:
    class Said(Job):
        text: str
        out: Output = "o"
        command = "echo '{text}' {text} >{out}"

    said = Said(text="x; touch f")
    script = said.start_script({"text": said.text, "out": "o"})
    assert "echo 'x; touch f' 'x; touch f' >o\n" in script
    Said.command = "# {text}"
    with pytest.raises(PipelineError, match=r"Module 'Said': \{text\} .* in a comment"):
        said.start_script({"text": said.text})


def test_local_file_can_be_explored() -> None:
    structure = File("a.cif", name="structure")
    grid = Pipeline(Relax(structure=structure)).explore({"structure.path": ["b.cif"]})
    (_, pipeline) = grid.points[0]
    assert follow(pipeline["relax"].get("structure")) == Path("b.cif")
