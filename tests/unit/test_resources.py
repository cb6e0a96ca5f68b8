"""Resources of a job: sizes, times, GPU types, names, and refused values."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tej import InvalidJobDirectory, JobSpec, RemoteQueue, Resources
from tej.job.job_name import make_job_name
from tej.job.resources import format_begin, parse_clock, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("4000M", 4000 << 20), ("1.5G", 3 << 29), ("4GB", 4 << 30), ("500K", 500 << 10)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_size_without_unit_is_refused_with_readings() -> None:
    with pytest.raises(InvalidJobDirectory, match=r"4000M .* 4000B"):
        Resources(memory="4000")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-12:00:00", 129600),
        ("1-12", 129600),
        ("2d", 172800),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1:30:00", 5400),
        ("24:00", 1440),
        ("90", 90),
    ],
)
def test_times_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_clock(text) == seconds


@pytest.mark.parametrize(
    "wanted",
    [
        {"memory": "1G", "memory_per_cpu": "1G"},
        {"gpus": "a100:x"},
        {"mail_on": ["end"]},
        {"mail": "me@example.org", "mail_on": ["often"]},
        {"name": "-x"},
        {"name": "a b"},
        {"modules": "gcc"},
        {"priority": 5000},
        {"walltime": "UNLIMITED"},
        {"begin": "whenever"},
        {"tasks": 0},
        {"cpus": "4"},
        {"cpus": 1.5},
        {"gpus": 1.5},
        {"memory": 1.5},
        {"walltime": timedelta(hours=1)},
    ],
    ids=str,
)
def test_values_that_no_scheduler_takes_are_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(InvalidJobDirectory):
        Resources(**wanted)  # type: ignore[arg-type]


def test_dictionary_of_resources_is_refused_before_the_upload() -> None:
    spec = JobSpec(files={"start.sh": ""}, resources={"cpus": 2})  # type: ignore[arg-type]
    (outcome,) = RemoteQueue("local:", "/nowhere/queue").ensure_many([spec])
    assert "must be a `tej.Resources`, not a value of type dict" in str(outcome.error)


def test_each_resource_is_one_line_for_the_server() -> None:
    wanted = Resources(
        tasks=8,
        tasks_per_node=4,
        memory_per_cpu="500M",
        gpus="a100:2",
        qos="high",
        constraint="skylake&ib",
        account="proj/sub",
        exclusive=True,
        name="mysim",
        begin="2h",
        requeue=True,
        mail="me@example.org",
        modules=["gcc/13"],
    )
    assert set(wanted.lines()) == {
        "tasks=8",
        "tasks_per_node=4",
        f"memory_per_cpu={500 << 20}",
        "gpus=2",
        "gpu_type=a100",
        "qos=high",
        "constraint=skylake&ib",
        "account=proj/sub",
        "exclusive=1",
        "name=mysim",
        "begin=+7200",
        "requeue=1",
        "mail=me@example.org",
        "mail_on=end,fail",
        "module=gcc/13",
    }


def test_begin_with_zone_is_a_moment() -> None:
    moment = datetime(2026, 11, 26, 8, tzinfo=timezone.utc)
    assert format_begin(moment) == f"@{int(moment.timestamp())}"
    assert format_begin("2026-11-26T08:00") == "20261126080000"


def test_job_name_is_made_from_any_directory() -> None:
    assert make_job_name("my simulation (2)") == "my_simulation_2_"
    assert make_job_name("…") == "job"
