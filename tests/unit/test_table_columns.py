"""Tables of jobs: widths, short ids and untrusted text."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath

import pytest

from tej.cli.columns_option import check_columns
from tej.job.formatting import width_of
from tej.job.job_id import shorten_ids
from tej.job.job_list import JobList
from tej.job.status import JobState, JobStatus
from tej.job.summary import summarize
from tej.job.table_columns import COLUMNS, JobTable

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


def make_job(job_id: str, state: str = "finished", **values: object) -> JobStatus:
    return JobStatus(
        job_id,
        JobState(state),
        PurePosixPath("/q/jobs") / job_id / "stage",
        **{"reported": NOW, **values},  # type: ignore[arg-type]
    )


def test_short_ids_are_unambiguous_prefixes() -> None:
    ids = ["sig-1234567890ab", "sig-1234567899ab", "sig-ffff00001111", "a", "ab"]
    assert shorten_ids(ids) == {
        "sig-1234567890ab": "sig-1234567890",
        "sig-1234567899ab": "sig-1234567899",
        "sig-ffff00001111": "sig-ffff0000",
        "a": "a",
        "ab": "ab",
    }
    assert shorten_ids([]) == {}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_default_table_fits_the_width(width: int) -> None:
    jobs = [
        make_job(
            f"simulation_of_something_somebody_{number}{number}12345",
            exit_code=0,
            started=NOW - timedelta(hours=2),
            duration=7200.0,
            host="node-with-a-long-name.example.org",
            name="a name that takes some room, too",
            parameters={"SEED": str(number), "LR": "0.1"},
        )
        for number in range(10)
    ]
    head, *rows = JobTable(jobs).lines(width)
    assert all(width_of(line) <= width for line in (head, *rows))
    assert head.split()[:3] == ["job", "state", "exit"]
    ids = [row.split()[0] for row in rows]
    matches = [[job for job in jobs if job.job_id.startswith(one)] for one in ids]
    assert matches == [[job] for job in jobs]


@pytest.mark.parametrize(
    "column", ["where", "name", "script", "labels", "parameters", "submitter"]
)
def test_long_text_is_cut_at_a_narrow_width(column: str) -> None:
    long = {"x" * 50: "y" * 50}
    values = {"labels": long, "parameters": long}
    field = "host" if column == "where" else column
    job = make_job("a", **{field: values.get(column, "x" * 100)})
    (_, row) = JobTable([job], [column, "state"]).lines(60)
    assert width_of(row) <= 60
    assert row.split()[-1] == "finished"


def test_wide_table_is_complete() -> None:
    job = make_job("a" * 30, host="h" * 20, name="n" * 30, parameters={"SEED": "1"})
    head, row = JobTable([job]).lines(200)
    assert head.split() == [
        *("job", "state", "exit", "started", "duration", "SEED", "where", "name")
    ]
    assert row.split() == ["a" * 30, "finished", "1", "h" * 20, "n" * 30]


def test_chosen_columns_are_never_left_out() -> None:
    job = make_job("a", name="n" * 30, labels={"project": "x"})
    head, row = JobTable([job], ["job", "project", "name"]).lines(22)
    assert head.split() == ["job", "project", "name"]
    assert row.split() == ["a", "x", "nnnnnnn…"]


def test_resources_are_columns_behind_labels() -> None:
    resources = {"cpus": "4", "memory": "1610612736", "walltime": "5400"}
    job = make_job("a", resources=resources, labels={"cpus": "many"})
    names = ["memory", "walltime", "gpus", "cpus"]
    table = JobTable([job], names)
    assert next(table.exact_rows()) == ["1610612736", "5400", "", "many"]
    _, row = table.lines()
    assert row.split() == ["1536M", "1:30:00", "many"]
    check_columns(names, [job])


def test_exact_values_have_no_units() -> None:
    job = make_job("sig-" + "1" * 20, started=NOW, duration=2.0, name="two\twords")
    table = JobTable(
        [job], ["job", "started", "duration", "exit", "name"], sizes={job.job_id: 5}
    )
    (row,) = table.exact_rows()
    assert row == [job.job_id, "2026-11-26T12:00:00+00:00", "2", "", "two\\twords", "5"]


def test_hostile_text_is_escaped_in_every_column() -> None:
    evil = "\x1b]0;title\x07\r\n\x9b1A\u202e<script>"
    job = JobStatus(
        evil,
        JobState.RUNNING,
        PurePosixPath(evil),
        host=evil,
        native_id=evil,
        runtime=evil,
        name=evil,
        script=evil,
        submitter=evil,
        signature=evil,
        labels={"key": evil},
        parameters={evil: evil},
    )
    table = JobTable([job], [*COLUMNS, "key", evil])
    texts = ["".join(table.lines(80)), "".join(map("".join, table.exact_rows()))]
    texts.append(table.as_html().replace("\n", ""))
    assert all(text.isprintable() for text in texts)
    assert "<script>" not in texts[-1]


def test_summary_counts_jobs_by_state() -> None:
    jobs = [
        make_job("a", exit_code=0),
        make_job("b", exit_code=1),
        make_job("c", "lost"),
        make_job("d", "running"),
        make_job("e", "queued"),
        None,
    ]
    assert summarize(jobs) == "3/5 done, 2 failed, 1 running, 1 queued"
    assert summarize(jobs, 30) == "3/30 done, 2 failed, 1 running, 1 queued"
    assert summarize([make_job("a", exit_code=0)]) == "1/1 done"


def test_list_prints_as_a_table() -> None:
    jobs = JobList([make_job("a", name="<b>", parameters={"SEED": "1"})])
    head, row = str(jobs).splitlines()
    assert head.split() == [
        *("job", "state", "exit", "started", "duration", "SEED", "where", "name")
    ]
    assert row.split() == ["a", "finished", "1", "<b>"]
    assert "<td>&lt;b&gt;</td>" in jobs._repr_html_()
    assert (str(JobList()), JobList()._repr_html_()) == ("No jobs", "No jobs")
    assert str(jobs[:1]) == str(jobs)
    assert jobs[0].job_id == "a"


def test_status_prints_as_one_harmless_line() -> None:
    status = make_job("a", "lost", evidence="no\nsign \x1b[2J<b>")
    assert str(status) == "a: Job is lost: no\\nsign \\x1b[2J<b>"
    assert (
        status._repr_html_() == "<pre>a: Job is lost: no\\nsign \\x1b[2J&lt;b&gt;</pre>"
    )
