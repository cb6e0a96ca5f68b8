"""Signatures: those of VisTrails to the letter, and those without its weak points."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tej_vistrails import Pipeline, PipelineError
from tej_vistrails.description import (
    BASIC,
    TEJ,
    Connection,
    Description,
    ExtraPort,
    Function,
    Module,
    Parameter,
)
from tej_vistrails.engine.graph import Node
from tej_vistrails.signatures import content_signature, vistrails_signature


def shell(source: str = "echo hello\n", **inputs: object) -> tuple[Pipeline, Node]:
    pipeline = Pipeline()
    queue = pipeline.add("Queue", hostname="user@example.org")
    job = pipeline.add("SubmitShellJob", queue=queue["queue"], source=source, **inputs)
    return pipeline, job


def sign(pair: tuple[Pipeline, Node], scheme: str) -> str:
    return pair[0].signature(pair[1], scheme)


# Computed by VisTrails 2.2.4 with its own package for tej.
def test_a_queues_signature_is_that_of_vistrails() -> None:
    pipeline = Pipeline()
    queue = pipeline.add("Queue", hostname="user@example.org")
    expected = "75b7df64c2b8b075d449d6dc1a2d579107df0b4b"
    assert pipeline.signature(queue) == expected
    # That of the example which comes with VisTrails
    queue = pipeline.add("Queue", hostname="127.0.0.1")
    expected = "3b874fec9c63d30371abb798a2b718b389175ad3"
    assert pipeline.signature(queue) == expected


def test_a_default_that_is_set_counts_in_vistrails_scheme() -> None:
    pipeline = Pipeline()
    queue = pipeline.add("Queue", hostname="user@example.org", queue="~/.tej")
    expected = "cb5f0da71c7e5ba2652c99f96738f35533d15932"
    assert pipeline.signature(queue) == expected


def test_a_jobs_signature_is_that_of_vistrails_and_names_it() -> None:
    pipeline, job = shell()
    expected = "30cfcf5360a6c6f28c78e1613df935bacddde391"
    assert pipeline.signature(job) == expected
    assert pipeline.job_ids() == {job.name: f"vistrails_module_{expected}"}


def test_print_error_counts_in_vistrails_scheme() -> None:
    expected = "814c497832929f9b4d8859d915bc1658e1d5e05d"
    assert sign(shell(print_error=True), "vistrails") == expected


@pytest.mark.parametrize("scheme", ["vistrails", "content"])
@pytest.mark.parametrize(
    "inputs",
    [
        {"retry": True},
        {"fail_on_error": True},
        {"labels": ["a=b", "c=d"]},
        {"nodes": 2, "memory": "4G", "walltime": "1:00:00", "partition": "long"},
        {"scheduler_options": "--qos=high"},
        {"login": True},
    ],
)
def test_what_is_beside_the_work_is_in_no_signature(
    scheme: str, inputs: dict[str, object]
) -> None:
    assert sign(shell(**inputs), scheme) == sign(shell(), scheme)


@pytest.mark.parametrize("scheme", ["vistrails", "content"])
@pytest.mark.parametrize("inputs", [{"source": "echo other\n"}, {"environment": "A=b"}])
def test_what_is_of_the_work_is_in_every_signature(
    scheme: str, inputs: dict[str, object]
) -> None:
    assert sign(shell(**inputs), scheme) != sign(shell(), scheme)


def test_print_error_is_beside_the_work_by_content() -> None:
    assert sign(shell(print_error=True), "content") == sign(shell(), "content")


@pytest.mark.parametrize(
    "inputs",
    [
        {"hostname": "elsewhere"},
        {"hostname": "user@example.org", "port": 2222},
        {"hostname": "user@example.org", "queue": "/scratch"},
        {"hostname": "user@example.org", "setup_runtime": "slurm"},
        {"hostname": "user@example.org", "signatures": "content"},
    ],
)
def test_where_it_runs_is_in_no_signature_by_content(inputs: dict[str, object]) -> None:
    pipeline = Pipeline()
    queue = pipeline.add("Queue", **inputs)
    job = pipeline.add("SubmitShellJob", queue=queue["queue"], source="echo hello\n")
    assert pipeline.signature(job, "content") == sign(shell(), "content")


def test_a_default_that_is_set_is_as_if_it_were_not_by_content() -> None:
    def submit(**inputs: object) -> str:
        pipeline = Pipeline()
        queue = pipeline.add("Queue", hostname="h")
        job = pipeline.add("SubmitJob", queue=queue["queue"], **inputs)
        return pipeline.signature(job, "content")

    assert submit(script="start.sh") == submit()
    assert submit(script="other.sh") != submit()


def test_text_that_is_more_than_ascii_can_be_signed() -> None:
    for scheme in ("vistrails", "content"):
        one = sign(shell(environment="NAME=Zoë"), scheme)
        assert one != sign(shell(environment="NAME=Zoe"), scheme)


def with_file(path: Path, scheme: str) -> str:
    pipeline = Pipeline()
    queue = pipeline.add("Queue", hostname="h")
    file = pipeline.add("File", value=path)
    job = pipeline.add("SubmitJob", queue=queue["queue"], files={"data": file["value"]})
    return pipeline.signature(job, scheme)


def test_a_file_is_its_content_and_not_its_path_or_time(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    os.utime(two, (1, 1))
    assert with_file(one, "content") == with_file(two, "content")
    assert with_file(one, "vistrails") != with_file(two, "vistrails")


def test_other_content_of_the_same_path_and_time_is_another_job(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    os.utime(path, (1, 1))
    before = {scheme: with_file(path, scheme) for scheme in ("content", "vistrails")}
    path.write_text("two")
    os.utime(path, (1, 1))
    assert with_file(path, "content") != before["content"]
    # The weak point of VisTrails' own, kept for the sake of its ids.
    assert with_file(path, "vistrails") == before["vistrails"]


WAYS = [
    *((kind, port, False) for kind in ("File", "Path") for port in ("value", "name")),
    ("File", "name", True),
]


@pytest.mark.parametrize(("kind", "port", "connected"), WAYS)
def test_a_file_is_its_content_however_it_is_given(
    tmp_path: Path, kind: str, port: str, connected: bool
) -> None:
    def signature(name: str) -> str:
        pipeline = Pipeline()
        queue = pipeline.add("Queue", hostname="h")
        given: object = tmp_path / name
        if connected:
            given = pipeline.add("String", value=given)["value"]
        path = pipeline.add(kind, **{port: given})
        text = path["value_as_string"]
        job = pipeline.add("SubmitJob", queue=queue["queue"], environment=text)
        return pipeline.signature(job, "content")

    (tmp_path / "one").write_text("same")
    (tmp_path / "two").write_text("same")
    assert signature("one") == signature("two")
    (tmp_path / "two").write_text("else")
    assert signature("one") != signature("two")


def test_a_directory_given_by_its_name_is_what_is_in_it(tmp_path: Path) -> None:
    def signature() -> str:
        pipeline = Pipeline()
        folder = pipeline.add("Directory", name=tmp_path / "job")
        job = pipeline.add("SubmitJob", job=folder["value"])
        return pipeline.signature(job, "content")

    (tmp_path / "job").mkdir()
    (tmp_path / "job/file").write_text("one")
    before = signature()
    (tmp_path / "job/file").write_text("two")
    assert signature() != before
    (tmp_path / "job/file").write_text("one")
    assert signature() == before


def test_a_name_that_is_put_together_elsewhere_has_no_content(tmp_path: Path) -> None:
    pipeline = Pipeline()
    (tmp_path / "file").touch()
    name = pipeline.add("ConcatenateString", str1=tmp_path, str2="/file")
    file = pipeline.add("File", name=name["value"])
    words = "name comes from a module of type ConcatenateString"
    with pytest.raises(PipelineError, match=words):
        pipeline.signature(file, "content")
    # That of another file is known.
    plain = pipeline.add("File", name=tmp_path / "file")
    same = pipeline.add("File", name=plain["local_filename"])
    assert len(pipeline.signature(same, "content")) == 64


def test_a_directory_is_all_that_is_in_it(tmp_path: Path) -> None:
    def signature() -> str:
        pipeline = Pipeline()
        queue = pipeline.add("Queue", hostname="h")
        folder = pipeline.add("Directory", value=tmp_path / "job")
        job = pipeline.add("SubmitJob", queue=queue["queue"], job=folder["value"])
        return pipeline.signature(job, "content")

    below = tmp_path / "job/below"
    below.mkdir(parents=True)
    seen = {signature()}
    (below / "file").write_text("x")
    seen.add(signature())
    (below / "file").chmod(0o755)
    seen.add(signature())
    (below / "link").symlink_to("file")
    seen.add(signature())
    (below / "file").rename(below / "other")
    seen.add(signature())
    assert len(seen) == 5


def test_a_file_that_is_not_there_has_no_content(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be read"):
        with_file(tmp_path / "absent", "content")


def described(*values: str) -> Description:
    """A module of a foreign package with a port that takes several values at once."""
    description = Description()
    module = Module("M", "p", "1")
    module.functions.append(Function("f", [Parameter("Float", one) for one in values]))
    description.modules[0] = module
    return description


def test_the_order_of_values_counts_by_content() -> None:
    one, two = described("1", "2"), described("2", "1")
    assert content_signature(one, 0) != content_signature(two, 0)
    assert vistrails_signature(one, 0) == vistrails_signature(two, 0)


def test_fields_do_not_run_into_each_other_by_content() -> None:
    one, two = described("1", "23"), described("12", "3")
    assert content_signature(one, 0) != content_signature(two, 0)


def test_versions_of_packages_count_in_vistrails_scheme_alone() -> None:
    one, two = described("1"), described("1")
    two.modules[0].package_version = "2"
    assert content_signature(one, 0) == content_signature(two, 0)
    assert vistrails_signature(one, 0) != vistrails_signature(two, 0)


def test_what_is_connected_where_counts_by_content() -> None:
    def signature(port: str, source_port: str) -> str:
        description = described("1")
        description.modules[1] = Module("N", "p")
        description.connections.append(Connection(1, source_port, 0, port))
        return content_signature(description, 0)

    assert len({signature("a", "x"), signature("b", "x"), signature("a", "y")}) == 3


def test_ports_of_its_own_count() -> None:
    one, two = described("1"), described("1")
    two.modules[0].extra_ports.append(ExtraPort("input", "data", f"({BASIC}:File)"))
    assert content_signature(one, 0) != content_signature(two, 0)
    assert vistrails_signature(one, 0) != vistrails_signature(two, 0)


def test_what_lies_outside_of_the_pipeline_has_no_content() -> None:
    description = described("1")
    description.modules[1] = Module("InputPort", BASIC)
    description.connections.append(Connection(1, "InternalPipe", 0, "x"))
    with pytest.raises(Exception, match="cannot see into a module of type InputPort"):
        content_signature(description, 0)


def test_a_queue_may_lie_outside_of_the_pipeline() -> None:
    pipeline, job = shell()
    description = pipeline.description()
    number = pipeline.numbers()[job.name]
    inside = content_signature(description, number)
    (connection,) = description.into(number)
    description.modules[connection.source] = Module("InputPort", BASIC)
    assert content_signature(description, number) == inside


def test_the_scheme_is_part_of_the_id() -> None:
    ids = []
    for scheme in (None, "vistrails", "content"):
        pipeline = Pipeline(scheme)
        queue = pipeline.add("Queue", hostname="user@example.org")
        pipeline.add("SubmitShellJob", queue=queue["queue"], source="echo hello\n")
        ids += pipeline.job_ids().values()
    plain, named, content = ids
    # Naming the scheme that there is anyhow renames no job.
    assert plain == named == "vistrails_module_30cfcf5360a6c6f28c78e1613df935bacddde391"
    assert content == "vistrails_content_" + sign(shell(), "content")[:40]


def test_a_scheme_that_is_not_known_is_named() -> None:
    with pytest.raises(PipelineError, match="'content' or 'vistrails', not 'md5'"):
        Pipeline("md5")


def test_the_tej_package_is_called_as_it_was() -> None:
    assert TEJ == "org.vistrails.extra.tej"
