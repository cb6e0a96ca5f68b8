"""Sweeps: values, combinations, tables, and parameters in commands and folders."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import PurePosixPath

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tej.cli.download_directories import make_folders
from tej.job.result_values import parse_metrics
from tej.job.spec import JobSpec
from tej.job.status import JobState, JobStatus
from tej.job.sweep import (
    combine,
    fill_command,
    parse_parameter,
    parse_table,
    with_parameters,
)
from tej.wire.records import make_spec, parse_status


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1..3", ["1", "2", "3"]),
        ("A=3..1", ["3", "2", "1"]),
        ("A=08..10", ["08", "09", "10"]),
        ("A=0..10..5", ["0", "5", "10"]),
        ("A=-1..1", ["-1", "0", "1"]),
        ("A=0.1,0.01", ["0.1", "0.01"]),
        ("A=1..2,x y", ["1", "2", "x y"]),
        ("A=", [""]),
        ("A=b=c", ["b=c"]),
    ],
)
def test_parameter_is_a_range_or_a_list(text: str, values: list[str]) -> None:
    assert parse_parameter(text) == ("A", values)


@pytest.mark.parametrize(
    "text", ["A", "=1", "1A=1", "A B=1", "A=1..99999", "A=1..2..0"]
)
def test_other_parameter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parameter|range"):
        parse_parameter(text)


def test_values_are_combined_or_paired() -> None:
    parameters = [("A", ["1", "2"]), ("B", ["x", "y"])]
    assert combine(parameters, zipped=False) == [
        {"A": "1", "B": "x"},
        {"A": "1", "B": "y"},
        {"A": "2", "B": "x"},
        {"A": "2", "B": "y"},
    ]
    assert combine(parameters, zipped=True) == [
        {"A": "1", "B": "x"},
        {"A": "2", "B": "y"},
    ]
    for wrong in ([("A", ["1"]), ("A", ["2"])], [("A", ["1"]), ("B", ["1", "2"])]):
        with pytest.raises(ValueError, match="twice|same number"):
            combine(wrong, zipped=True)
    with pytest.raises(ValueError, match="more than"):
        combine([(name, ["1"] * 100) for name in "ABC"], zipped=False)


def test_table_is_csv_or_json() -> None:
    rows = [{"A": "1", "B": "x"}, {"A": "2", "B": "y"}]
    assert parse_table("A,B\n1,x\n2,y\n") == rows
    assert parse_table('[{"A": 1, "B": "x"}, {"A": 2, "B": "y"}]') == rows
    for wrong in ("", "A,B\n1\n", "A\n1,2\n", "[1]", "[{"):
        with pytest.raises(ValueError, match="row|list|value|Expecting"):
            parse_table(wrong)


@pytest.mark.parametrize("form", ["{A}", "'{A}'", '"{A}"', "x'{A}'\"{A}\"", "\\'{A}"])
@settings(deadline=None, max_examples=10)
@given(
    value=st.text(st.characters(codec="ascii", exclude_characters="\0\r"), max_size=8)
)
def test_value_is_quoted_in_any_context(form: str, value: str) -> None:
    command = fill_command(f"printf '%s.' {form}", {"A": value})
    expected = form.replace("\\'", "~").replace("'", "").replace('"', "")
    expected = expected.replace("~", "'").replace("{A}", value)
    assert subprocess.check_output(["sh", "-c", command]) == f"{expected}.".encode()


def test_only_parameters_are_replaced() -> None:
    command = "awk '{print}' {A} {B} ${A}"
    assert fill_command(command, {"A": "1"}) == "awk '{print}' 1 {B} $1"


def test_job_has_parameters_in_script_id_and_environment() -> None:
    spec = JobSpec(".", shlex.join(["run", "{A}"]), "job-{A}", environment={"B": "2"})
    spec = replace(spec, on_end='echo "{A}"')
    job = with_parameters(spec, {"A": "1"})
    assert (job.script, job.job_id) == ("run '1'", "job-1")
    assert job.on_end == 'echo "1"'
    assert job.environment == {"A": "1", "B": "2"}
    assert job.parameters == {"A": "1"}


def test_parameters_are_stored_with_the_job() -> None:
    spec = make_spec("t", {"name": "n", "param:A": "a b", "param:EMPTY": ""}, {})
    record = {"id": "a", "state": "running", "spec": spec}
    job = parse_status(record, {"queue": "/q"})
    assert job.parameters == {"A": "a b", "EMPTY": ""}
    assert job.as_dict()["parameters"] == job.parameters


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"loss": 0.5, "at": {"k": 3}, "x": null}', {"loss": "0.5", "at.k": "3"}),
        ('{"loss": 1}\n{"loss": 0.5}\n', {"loss": "0.5"}),
        ("0.25\n", {"value": "0.25"}),
        ("step 1\nloss 2\n", {"value": "loss 2"}),
        ("[1, 2]", {"value": "[1, 2]"}),
        ("", {}),
    ],
)
def test_metrics_are_json_lines_or_text(text: str, values: dict[str, str]) -> None:
    assert parse_metrics(text) == values


def make_job(job_id: str, **parameters: str) -> JobStatus:
    return JobStatus(
        job_id, JobState.FINISHED, PurePosixPath("/q"), parameters=parameters
    )


def test_each_job_has_its_own_folder() -> None:
    jobs = {"a": make_job("a", SEED="1"), "b": make_job("b", SEED="2")}
    assert make_folders("out/{SEED}", jobs) == {"a": "out/1", "b": "out/2"}
    assert make_folders("{id}", jobs) == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    ("template", "jobs"),
    [
        ("out", [make_job("a"), make_job("b")]),
        ("{X}", [make_job("a")]),
        ("out/{X}", [make_job("a", X="..")]),
        ("out/{X}", [make_job("a", X="../../b")]),
        ("{X}/b", [make_job("a", X="")]),
    ],
)
def test_impossible_folder_is_refused(template: str, jobs: list[JobStatus]) -> None:
    with pytest.raises(click.UsageError):
        make_folders(template, {job.job_id: job for job in jobs})
