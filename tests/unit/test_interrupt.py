"""Ctrl-C in `tej run`, without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from statuses import job

from tej import errors
from tej.cli import interrupt
from tej.cli.exit_status import INTERRUPTED
from tej.config.profile import Setting


class InterruptedJob:
    id = "a"

    def kill(self, grace: int) -> None:
        raise KeyboardInterrupt


def test_second_interrupt_reports_unknown_kill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interrupt, "words_for", lambda job: "local: --id a")
    job: Any = InterruptedJob()
    assert interrupt.interrupted(job, True, 10) == INTERRUPTED
    assert "unknown whether the job was killed" in capsys.readouterr().err


class Submission:
    """A job whose submission was interrupted; the server's replies are given."""

    id = "a"

    def __init__(self, *replies: Any) -> None:
        self.replies = [*replies]
        self.queue = self

    def statuses(self, ids: list[str]) -> dict[str, Any]:
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return dict.fromkeys(ids, reply)


def test_interrupted_submission_is_looked_for_four_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(interrupt.time, "sleep", pauses.append)
    missing, found = errors.QueueNotFound("none"), job("a", "running")
    one: Any = Submission(missing, None, found, None)
    assert interrupt.find_submitted(one) is found
    assert (len(one.replies), pauses) == (1, [0.5, 0.5])
    one = Submission(missing, None, missing, None, found)
    assert interrupt.find_submitted(one) is None
    assert len(one.replies) == 1


@pytest.mark.parametrize(
    ("replies", "said", "kills"),
    [
        ([None] * 4, "\nJob 'a' was not started\n", None),
        ([job("a")], "\nJob is finished", None),
        ([job("a", "running")], "", True),
        (
            [errors.ConnectionFailed("cut")],
            "unknown whether the job was started",
            False,
        ),
    ],
)
def test_only_a_known_job_is_killed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    replies: list[Any],
    said: str,
    kills: bool | None,
) -> None:
    kinds: list[bool] = []

    def interrupted(job: object, kill: bool, grace: int) -> int:
        kinds.append(kill)
        assert grace == 7
        return 77

    monkeypatch.setattr(interrupt.time, "sleep", lambda _: None)
    monkeypatch.setattr(interrupt, "interrupted", interrupted)
    one: Any = Submission(*replies)
    code = interrupt.interrupted_while_sent(one, True, 7)
    assert (code, kinds) == ((INTERRUPTED, []) if kills is None else (77, [kills]))
    assert said in capsys.readouterr().err


def test_interrupt_kills_or_prints_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graces: list[int] = []

    def kill(grace: int) -> Any:
        graces.append(grace)
        return job("a", "killed")

    monkeypatch.setattr(interrupt, "words_for", lambda job: "WORDS")
    one: Any = SimpleNamespace(id="a", kill=kill)
    assert interrupt.interrupted(one, False, 5) == INTERRUPTED
    said = capsys.readouterr().err
    assert graces == []
    for verb in ("logs -f", "wait", "kill"):
        assert f" tej {verb} WORDS\n" in said
    assert interrupt.interrupted(one, True, 5) == INTERRUPTED
    assert graces == [5]
    assert "Killing job 'a' ...\nJob was killed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "sources", "words"),
    [
        (None, ("f", "f"), "lab --queue /q --id a"),
        (("p", "command line"), ("f", "f"), "-p p a"),
        (("p", "f"), ("f", None), "a"),
        (("p", "f"), ("f", "environment"), "lab --queue /q --id a"),
        (("p", "f"), ("command line", "f"), "lab --queue /q --id a"),
    ],
)
def test_printed_words_select_the_job(
    monkeypatch: pytest.MonkeyPatch,
    name: tuple[str, str] | None,
    sources: tuple[str | None, str | None],
    words: str,
) -> None:
    profile = SimpleNamespace(
        name=None if name is None else Setting(*name),
        files=("f",),
        settings={
            key: Setting("x", source)
            for key, source in zip(("destination", "queue"), sources, strict=True)
            if source is not None
        },
    )
    monkeypatch.setattr(interrupt, "current_profile", lambda: profile)
    monkeypatch.delenv("TEJ_QUEUE", raising=False)
    queue = SimpleNamespace(queue="/q", destination_string="lab")
    one: Any = SimpleNamespace(id="a", queue=queue)
    assert interrupt.words_for(one) == words
    if words.startswith("lab"):
        queue.queue = "~/.tej"
        assert interrupt.words_for(one) == "lab --id a"
        monkeypatch.setenv("TEJ_QUEUE", "/other")
        assert interrupt.words_for(one) == "lab --queue '~/.tej' --id a"
