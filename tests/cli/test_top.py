"""`tej top`, driven by textual's pilot."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate, wait_until

import tej
from tej.cli import main
from tests.conftest import unavailable

Make = Callable[..., Path]


def drive(queues: list[tej.RemoteQueue], steps: Callable[..., Awaitable[None]]) -> None:
    """Run the screen with 80x24 characters, and call `steps(app, pilot)`."""
    if importlib.util.find_spec("textual") is None:
        unavailable("textual is not installed")
    from tej.cli import top_screen
    from tej.cli.top_requests import ShownQueue

    async def main() -> None:
        app = top_screen.TopScreen([ShownQueue(queue) for queue in queues])
        async with app.run_test(size=(80, 24)) as pilot:
            await steps(app, pilot)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_screen, "INTERVAL", 0.5)
        asyncio.run(main())
    wait_until(
        lambda: all(one.name != "tej top" for one in threading.enumerate()),
        "the threads have ended",
    )


async def until(pilot: Any, condition: Callable[[], object]) -> None:
    for _ in range(4500):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("not within 90 s")


async def press(pilot: Any, key: str, screens: int) -> None:
    """Press a key that opens or closes a dialog, and wait for the number of screens."""
    await pilot.press(key)
    await until(pilot, lambda: len(pilot.app.screen_stack) == screens)


def table_of(app: Any) -> list[list[str]]:
    return [list(map(str, app.table.get_row_at(n))) for n in range(app.table.row_count)]


def output_of(app: Any) -> list[str]:
    return [line.text for line in app.output.lines]


def test_jobs_are_shown_killed_retried_and_downloaded(
    library: tej.RemoteQueue, job: Make, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = job(f"echo 'begun\x1b[2J'; {gate.wait}; exit 3", {"data": "1\n"})
    library.submit("first", directory)
    monkeypatch.chdir(directory)

    async def steps(app: Any, pilot: Any) -> None:
        await until(pilot, lambda: output_of(app) == ["begun\\x1b[2J"])
        await until(pilot, lambda: "0/1 done, 1 running" in str(app.head.render()))
        assert [row[:2] for row in table_of(app)] == [["first", "running"]]
        for answer in "ny":
            await press(pilot, "k", 2)
            await press(pilot, answer, 1)
        await until(pilot, lambda: [row[1] for row in table_of(app)] == ["killed"])
        await press(pilot, "question_mark", 2)
        await press(pilot, "x", 1)
        await pilot.press("r")
        await until(pilot, lambda: [row[1] for row in table_of(app)] == ["running"])
        gate.open()
        await until(
            pilot, lambda: [row[1:3] for row in table_of(app)] == [["finished", "3"]]
        )
        await press(pilot, "d", 2)
        await pilot.press("backspace", *"data")
        await press(pilot, "enter", 1)
        await until(pilot, (directory / "first" / "data").exists)
        await until(pilot, lambda: library.status("first").downloaded is not None)

    drive([library], steps)


def test_jobs_of_two_queues_are_shown(
    library: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    other = tej.RemoteQueue("local:", str(tmp_path / "other"), "default")
    seed = {"SEED": "7"}
    library.ensure_many(
        [tej.JobSpec(job("echo output of a"), job_id="a", parameters=seed)]
    )
    other.submit("b", job("echo output of b"))
    library.wait(["a"])
    other.wait(["b"])

    async def steps(app: Any, pilot: Any) -> None:
        await until(pilot, lambda: [row[1] for row in table_of(app)] == ["a", "b"])
        seeds = app.names.index("SEED")
        assert [row[seeds] for row in table_of(app)] == ["7", ""]
        await pilot.press("down")
        await until(pilot, lambda: output_of(app) == ["output of b"])
        other.delete("b")
        await until(pilot, lambda: output_of(app) == ["output of a"])
        await pilot.press("q")

    try:
        drive([library, other], steps)
    finally:
        other.cleanup(kill=True)


def test_missing_textual_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("textual", *sys.modules):
        if name.partition(".")[0] == "textual":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "tej.cli.top_screen", raising=False)
    with pytest.raises(SystemExit) as end:
        main(["top", "local:"])
    assert end.value.code == 1
    assert "pip install 'tej[tui]'" in capsys.readouterr().err
