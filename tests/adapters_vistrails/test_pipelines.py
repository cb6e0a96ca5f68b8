"""Pipelines as they are written down: in Python, in JSON, in a vistrail; and what is
wrong with one is named."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tej_vistrails import JobMonitor, Pipeline, PipelineError

Document = dict[str, Any]


def test_values_go_through_basic_modules_to_a_file(tmp_path: Path) -> None:
    pipeline = Pipeline()
    one = pipeline.add("Integer", value="0x10")
    two = pipeline.add("basic:Float", value=2.5)
    text = pipeline.add(
        "ConcatenateString",
        str1="a",
        str3=one["value_as_string"],
        str4=two["value_as_string"],
    )
    file = pipeline.add("WriteFile", in_value=text["value"], suffix=".txt")
    read = pipeline.add("ReadFile", in_value=file["out_value"])
    pipeline.add("FileSink", file=file["out_value"], outputPath=tmp_path / "kept")
    with pipeline.run() as execution:
        assert execution.completed
        assert execution.output(read["out_value"]) == "a162.5"
        assert execution.output(file["out_value"]).name.endswith(".txt")
    assert (tmp_path / "kept").read_text() == "a162.5"


def test_a_directory_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    pipeline = Pipeline()
    file = pipeline.add("File", value=tmp_path / "file")
    made = pipeline.add("MakeDirectory", files={"sub/name": file["value"]})
    pipeline.add("DirectorySink", dir=made["directory"], outputPath=tmp_path / "kept")
    for _ in range(2):
        with pipeline.run() as execution:
            assert execution.completed
    assert (tmp_path / "kept/sub/name").read_text() == "x"


def test_what_is_there_is_not_replaced_if_it_may_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "kept").write_text("mine")
    pipeline = Pipeline()
    file = pipeline.add("File", value=tmp_path / "file")
    target = {"outputPath": tmp_path / "kept", "overwrite": False}
    pipeline.add("FileSink", file=file["value"], **target)
    with pipeline.run() as execution:
        assert "may not be replaced" in str(execution.errors["FileSink"])
    assert (tmp_path / "kept").read_text() == "mine"


def test_an_error_is_told_once_and_other_branches_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline()
    absent = pipeline.add("File", value=tmp_path / "absent")
    for _ in range(2):
        pipeline.add("StandardOutput", value=absent["value"])
    text = pipeline.add("String", value="here")
    pipeline.add("StandardOutput", value=text["value"])
    with pipeline.run() as execution:
        assert list(execution.errors) == ["File"]
        assert "does not exist" in str(execution.errors["File"])
    assert capfd.readouterr().out == "here\n"


def test_temporary_files_go_when_an_execution_is_closed() -> None:
    pipeline = Pipeline()
    file = pipeline.add("WriteFile", in_value="x")
    with pipeline.run() as execution:
        path = Path(execution.output(file["out_value"]).name)
        assert path.exists()
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.add("Absent"), "no module '.*basic:Absent' here.*SubmitJob"),
        (lambda p: p.add("basic:PythonSource"), "basic:PythonSource' here"),
        (lambda p: p.add("org.other:M"), "'org.other:M'"),
        (lambda p: p.add("BaseSubmitJob"), "no module '.*BaseSubmitJob'"),
        (lambda p: p.add("Queue", host="x"), "no input port 'host'; it has hostname"),
        (lambda p: p.add("Queue")["job"], "no output port 'job'"),
        (lambda p: p.add("Queue", port="x"), "'port' of .* is a Integer, which 'x'"),
        (lambda p: p.add("SubmitJob", queue="x"), "'queue' of .* cannot be set"),
        (lambda p: p.add("String", value=[None]), "cannot be set to None"),
        (lambda p: [p.add("String", "a"), p.add("String", "a")], "two modules called"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[[Pipeline], object], words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        make(Pipeline())


def test_a_circle_is_refused() -> None:
    pipeline = Pipeline()
    one = pipeline.add("ConcatenateString")
    two = pipeline.add("ConcatenateString", str1=one["value"])
    with pytest.raises(PipelineError, match="would wait for each other"):
        pipeline.connect(two["value"], one, "str1")
    with pytest.raises(PipelineError, match="would wait for each other"):
        pipeline.connect(one["value"], one, "str1")


@pytest.mark.parametrize(
    ("source", "port", "target", "target_port", "fits"),
    [
        ("Integer", "value", "Float", "value", True),
        ("Float", "value", "Integer", "value", False),
        ("File", "value", "Path", "value", True),
        ("Directory", "value", "DownloadFile", "filename", False),
        ("DownloadFiles", "files", "File", "value", False),
        ("DownloadFiles", "files", "StandardOutput", "value", True),
        ("SubmitJob", "job", "DownloadFile", "job", True),
        ("Queue", "queue", "DownloadFile", "job", False),
    ],
)
def test_only_what_can_be_read_there_is_connected(
    source: str, port: str, target: str, target_port: str, fits: bool
) -> None:
    pipeline = Pipeline()
    one, other = pipeline.add(source), pipeline.add(target)
    if fits:
        pipeline.connect(one[port], other, target_port)
    else:
        with pytest.raises(PipelineError, match=f"'{target_port}' of .* takes a"):
            pipeline.connect(one[port], other, target_port)


def test_many_ways_through_a_pipeline_take_no_time() -> None:
    pipeline = Pipeline()
    last = pipeline.add("String", value="x")
    for _ in range(40):
        both = {"str1": last["value"], "str2": last["value"]}
        last = pipeline.add("ConcatenateString", **both)
        pipeline.connections.pop()
        pipeline.connect(last["value"], pipeline.add("StandardOutput"), "value")
    assert len(pipeline.signature(last, "content")) == 64
    assert len(pipeline.signature(last)) == 40


def test_values_are_put_into_a_format(load: Callable[[Any], Pipeline]) -> None:
    pipeline = Pipeline()
    word = pipeline.add("String", value="seven")
    text = pipeline.add(
        "StringFormat",
        format="{:03d} {} {{}} {what[0]}",
        _0=7,
        _1="x",
        what=word["value"],
    )
    with pipeline.run() as execution:
        assert execution.output(text["value"]) == "007 x {} s"
    document = {
        "modules": {
            "first": {
                "type": "StringFormat",
                "inputs": {"format": "<{}{format[0]}{_0}>", "_0": 1.5},
            },
            "last": {"type": "StringFormat", "inputs": {"format": "{0}{a}", "a": "b"}},
        },
        "connections": [["first.value", "last._0"]],
    }
    pipeline = load(document)
    with pipeline.run() as execution:
        assert execution.output(pipeline.nodes["last"]["value"]) == "<1.5<1.5>b"


def test_what_is_wrong_with_a_format_is_named() -> None:
    pipeline = Pipeline()
    with pytest.raises(PipelineError, match="'format' of .*Single '{'"):
        pipeline.add("StringFormat", format="{")
    with pytest.raises(PipelineError, match="no input port 'absent'"):
        pipeline.add("StringFormat", format="{}", absent="x")


def test_a_format_may_be_connected() -> None:
    pipeline = Pipeline()
    form = pipeline.add("String", value="{a} and {a}")
    text = pipeline.add("StringFormat", format=form["value"], a=True)
    with pipeline.run() as execution:
        assert execution.output(text["value"]) == "True and True"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "A pipeline is an object"),
        ({"module": {}}, "no 'module'; it has connections, modules"),
        ({"modules": {"a": {}}}, "'a' has no type"),
        ({"modules": {"a": {"type": "String", "values": {}}}}, "no 'values'"),
        ({"connections": [["a.b", "c.d"]]}, "'a.b' leads to no module"),
        ({"connections": [["a.b"]]}, "is no connection"),
        ({"signatures": "md5"}, "not 'md5'"),
        ({"signatures": ["content"]}, "'signatures' is text, not "),
        ({"modules": []}, r"'modules' is an object, not \[\]"),
        ({"modules": {"a": []}}, r"Module 'a' is an object, not \[\]"),
        ({"modules": {"a": {"type": 1}}}, "'type' of module 'a' is text, not 1"),
        (
            {"modules": {"a": {"type": "String", "inputs": ["value"]}}},
            "'inputs' of module 'a' is an object, not ",
        ),
        (
            {"modules": {"a": {"type": "SubmitJob", "files": "run.sh"}}},
            "'files' of module 'a' is a list, not 'run.sh'",
        ),
        (
            {"modules": {"a": {"type": "SubmitJob", "files": [1]}}},
            "the 'files' of module 'a' is text, not 1",
        ),
        (
            {"modules": {"a": {"type": "String", "inputs": {"files": "x"}}}},
            "no input port 'files'; it has value",
        ),
        (
            {"modules": {"a": {"type": "String", "inputs": {"value": {}}}}},
            "'value' of .* cannot be set to {}",
        ),
        ({"connections": {}}, "'connections' is a list, not {}"),
        ({"connections": ["ab"]}, "'ab' is no connection"),
        ({"connections": [["a.b", 1]]}, "is no connection"),
    ],
)
def test_what_is_wrong_with_a_document_is_named(
    load: Callable[[Any], Pipeline], document: object, words: str
) -> None:
    with pytest.raises(PipelineError, match=words):
        load(document)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(PipelineError, match=r"x\.json' cannot be read"):
        Pipeline.load(tmp_path / "x.json")


ACTION = """\
<action id="{id}" prevId="{before}">
  <add what="module" id="1" objectId="{id}"><module id="{id}" name="{name}"
    package="org.vistrails.vistrails.basic" namespace="" version="2.1" /></add>
  <add what="location" id="2" objectId="{id}"><location id="1" x="0" y="0" /></add>
  <add what="function" id="3" objectId="{id}" parentObjId="{id}"
    parentObjType="module"><function id="{id}" name="value" pos="0" /></add>
  <add what="parameter" id="4" objectId="{id}" parentObjId="{id}"
    parentObjType="function"><parameter id="{id}" pos="0" name="&lt;no description&gt;"
    type="org.vistrails.vistrails.basic:String" val="{value}" /></add>
</action>
"""


def vistrail(*actions: str) -> str:
    return f'<vistrail id="" version="1.0.4">{"".join(actions)}</vistrail>'


def action(id: int, before: int, value: str = "v", name: str = "String") -> str:
    return ACTION.format(id=id, before=before, value=value, name=name)


def note(key: str, id: int, value: str) -> str:
    return f'<actionAnnotation id="1" key="{key}" actionId="{id}" value="{value}" />'


def values(path: Path, version: str | None = None) -> list[str]:
    pipeline = Pipeline.load(path, version)
    return [node.functions[0][1][0] for node in pipeline.nodes.values()]


def test_a_version_of_a_vistrail_is_all_that_led_to_it(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    change = (
        '<action id="4" prevId="2"><change what="parameter" oldObjId="2" newObjId="9" '
        'parentObjId="2" parentObjType="function"><parameter id="9" pos="0" '
        'type="org.vistrails.vistrails.basic:String" val="changed" /></change>'
        '<delete what="module" objectId="1" /><delete what="function" objectId="1" />'
        '<delete what="parameter" objectId="1" /></action>'
    )
    path.write_text(
        vistrail(
            action(1, 0, "one"),
            action(2, 1, "two"),
            action(3, 1, "three"),
            change,
            action(5, 3, "pruned"),
            note("__tag__", 2, "tagged"),
            note("__prune__", 5, "True"),
        )
    )
    assert values(path) == ["changed"]
    assert values(path, "tagged") == values(path, "2") == ["one", "two"]
    assert values(path, "3") == ["one", "three"]
    with pytest.raises(PipelineError, match="no version 'absent'; tags: tagged"):
        Pipeline.load(path, "absent")


def test_what_a_vistrail_has_and_the_engine_has_not_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.vt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vistrail", vistrail(action(1, 0, name="PythonSource")))
    words = r"x\.vt', version 1: There is no module '.*basic:PythonSource' here"
    with pytest.raises(PipelineError, match=words):
        Pipeline.load(path)
    group = '<action id="1" prevId="0"><add what="group" objectId="1" /></action>'
    path.write_text(vistrail(group))
    with pytest.raises(PipelineError, match=r"x\.vt', version 1: A group is nothing"):
        Pipeline.load(path)
    control = (
        '<action id="2" prevId="1"><add what="controlParameter" objectId="1" '
        'parentObjId="1"><controlParameter id="1" name="loop" value="x" /></add></action>'
    )
    path.write_text(vistrail(action(1, 0), control))
    with pytest.raises(PipelineError, match="control parameter 'loop' is nothing"):
        Pipeline.load(path)


def test_a_vistrail_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.vt"
    lost = '<action id="2" prevId="1"><delete what="module" objectId="1" /></action>'
    path.write_text(vistrail(action(1, 0), lost))
    with pytest.raises(PipelineError, match="version 2, is damaged"):
        Pipeline.load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no vistrail"),
        ("<other />", "is no vistrail, but <other>"),
        ("<vistrail></vistrail>", "no version but the empty one"),
        ('<!DOCTYPE v [<!ENTITY a "x">]><vistrail>&a;</vistrail>', "is no vistrail"),
    ],
)
def test_a_file_that_is_no_vistrail_is_named(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "x.vt").write_text(text)
    with pytest.raises(PipelineError, match=words):
        Pipeline.load(tmp_path / "x.vt")


def test_a_record_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "records").write_text('{"jobs": {"a": 1}}')
    with pytest.raises(PipelineError, match=r"records' cannot be read.*will be found"):
        JobMonitor(tmp_path / "records")
