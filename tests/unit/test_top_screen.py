"""Screen of `tej top` with simulated queues: the table, the actions, and errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

import tej

pytest.importorskip("textual")

from tej.cli import top_screen
from tej.cli.top_requests import ShownQueue

START = datetime(2020, 1, 1, tzinfo=timezone.utc)


def job(job_id: str, age: int, state: str = "running", **facts: Any) -> tej.JobStatus:
    known = {"submitted": START - timedelta(age)} | facts
    return tej.JobStatus(job_id, tej.JobState(state), PurePosixPath("/"), **known)


class Queue:
    """A queue whose jobs the test decides; the last reply is repeated."""

    def __init__(self, *jobs: tej.JobStatus, name: str = "lab") -> None:
        self.destination_string = name
        self.reply: Any = [*jobs]
        self.killed: list[str] = []
        self.read: list[str] = []

    def jobs(self) -> Any:
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def kill(self, status: tej.JobStatus) -> str:
        if status.job_id == "a":
            raise tej.ConnectionFailed("no [b]network")
        self.killed.append(status.job_id)
        return "Killed"

    def read_logs(self, job_id: str, streams: Any, tail: int) -> Any:
        assert (streams, tail) == (("stdout", "stderr"), 200)
        self.read.append(job_id)
        return SimpleNamespace(positions={}, job_id=job_id)


def drive(
    shown: list[ShownQueue], steps: Callable[[Any, Any], Awaitable[None]]
) -> None:
    """Run the screen, call `steps(app, pilot)`, and wait for the screen's threads."""

    async def main() -> None:
        app = top_screen.TopScreen(shown)
        async with app.run_test(size=(80, 24)) as pilot:
            await steps(app, pilot)

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name == "tej top":
            thread.join(60)
            assert not thread.is_alive()


async def until(pilot: Any, condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("not within 30 s")


def rows(app: Any) -> list[list[str]]:
    return [list(map(str, app.table.get_row_at(n))) for n in range(app.table.row_count)]


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each job print its id to both streams."""
    monkeypatch.setattr(
        top_screen,
        "read_lines",
        lambda logs, _: [(f"{logs.job_id}\x1b", False), (logs.job_id, True)],
    )


def test_table_follows_the_jobs_and_keeps_the_cursor() -> None:
    queue: Any = Queue(job("a", 2), job("b", 1, "finished", exit_code=1))
    shown = ShownQueue(queue)

    async def steps(app: Any, pilot: Any) -> None:
        def refresh(reply: Any) -> None:
            queue.reply = reply
            shown.changed.set()

        await until(pilot, lambda: [row[0] for row in rows(app)] == ["b", "a"])
        colours = [app.table.get_row_at(n)[0].style for n in (0, 1)]
        assert colours == ["red", "green"]
        assert str(app.head.render()).endswith("lab")
        await until(pilot, lambda: app.chosen == (shown, "b", 1))
        await pilot.press("down")
        await until(pilot, lambda: app.chosen == (shown, "a", 1))
        assert app.output.border_title == "a"
        await until(pilot, lambda: app.output.lines)
        assert [line.text for line in app.output.lines[:2]] == ["a\\x1b", "a"]
        # Output of a job that is no longer chosen is dropped.
        app.output.clear()
        app._show_output((shown, "b", 1), [("late", False)])
        assert app.output.lines == []
        # A new job moves the rows, but not the choice.
        refresh([job("a", 2), job("b", 1, "lost"), job("c", 0)])
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["c", "b", "a"])
        assert app.chosen == (shown, "a", 1)
        # The same jobs in other states keep the rows.
        refresh([job("a", 2, "killed"), job("b", 1), job("c", 0)])
        await until(pilot, lambda: rows(app)[2][1] == "killed")
        assert app.table.cursor_row == 2
        # After an error, the known jobs stay.
        refresh(tej.ConnectionFailed("no\nnetwork"))
        await until(pilot, lambda: str(app.head.render()).endswith("  no network"))
        assert len(rows(app)) == 3
        refresh([])
        await until(pilot, lambda: app.chosen is None)
        assert rows(app) == []
        assert str(app.head.render()).endswith("lab")
        await pilot.press(*"krd")
        assert len(app.screen_stack) == 1

    drive([shown], steps)
    assert queue.read[:2] == ["b", "a"]


def test_actions_need_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[tuple[str, list[str]]] = []

    def download(_: object, job_id: str, patterns: list[str]) -> str:
        downloads.append((job_id, patterns))
        return "Downloaded"

    def retry(_: object, job_id: str) -> str:
        raise OSError(f"cannot read {job_id}")

    monkeypatch.setattr(top_screen, "download", download)
    monkeypatch.setattr(top_screen, "retry", retry)
    first: Any = Queue(job("a", 1))
    second: Any = Queue(job("b", 1), name="other")
    shown = [ShownQueue(first), ShownQueue(second, results=("*.csv", "log"))]

    async def steps(app: Any, pilot: Any) -> None:
        async def press(*keys: str) -> None:
            """Open a dialog with the first key, and close it with the last key."""
            await pilot.press(keys[0])
            await until(pilot, lambda: len(app.screen_stack) == 2)
            await pilot.press(*keys[1:])
            await until(pilot, lambda: len(app.screen_stack) == 1)

        def said() -> list[tuple[str, str]]:
            return [(one.message, one.severity) for one in app._notifications]

        await until(pilot, lambda: len(rows(app)) == 2)
        assert [row[:2] for row in rows(app)] == [["lab", "a"], ["other", "b"]]
        await press("k", "n")
        await press("k", "enter")
        await press("k", "y")
        await until(pilot, lambda: said() == [("no [b]network", "error")])
        await pilot.press("down")
        await until(pilot, lambda: app.chosen == (shown[1], "b", 1))
        await press("k", "y")
        await until(pilot, lambda: ("Killed", "information") in said())
        await pilot.press("r")
        await until(pilot, lambda: ("cannot read b", "error") in said())
        await press("d", "escape")
        await press("d", *["backspace"] * 9, "enter")
        await press("d", "end", "space", "x", "enter")
        await until(pilot, lambda: ("Downloaded", "information") in said())
        await pilot.press("up")
        await until(pilot, lambda: app.chosen == (shown[0], "a", 1))
        await press("d", "enter")
        await until(pilot, lambda: len(downloads) == 2)

    drive(shown, steps)
    assert second.killed == ["b"]
    assert downloads == [("b", ["*.csv", "log", "x"]), ("a", ["*"])]


def test_number_of_jobs_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_screen, "MOST_JOBS", 1)
    queue: Any = Queue(job("old", 2), job("new", 1))

    async def steps(app: Any, pilot: Any) -> None:
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["new"])

    drive([ShownQueue(queue)], steps)
