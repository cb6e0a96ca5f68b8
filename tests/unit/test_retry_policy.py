"""Retry policy: attempts, pauses and permanent errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tej import AuthenticationFailed, ConnectionFailed, RemoteQueue, Retries
from tej.queue import retry_policy
from tej.queue.fetch_results import Pauses
from tej.transport import Completed, Transport

POLICY = Retries(limit=4, first=0.5, longest=3.0)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses of the retries, and do not sleep."""
    asked: list[float] = []
    monkeypatch.setattr(retry_policy.time, "sleep", asked.append)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    return asked


def broken(lasted: float, times: int) -> Callable[[int], str]:
    """Return a request that loses its connection after `lasted` seconds of traffic."""
    left = [times]

    def attempt(_: int) -> str:
        if not left[0]:
            return "answer"
        left[0] -= 1
        error = ConnectionFailed("lost")
        error.lasted = lasted
        raise error

    return attempt


def test_pause_has_a_limit_after_thousands_of_failures() -> None:
    assert POLICY.delay(5000) == 3.0


def test_pauses_double_up_to_the_longest(pauses: list[float]) -> None:
    policy = Retries(limit=6, first=0.5, longest=3.0)
    assert retry_policy.with_retries(policy, broken(0, 5)) == "answer"
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_gives_up_after_the_limit(pauses: list[float]) -> None:
    with pytest.raises(ConnectionFailed):
        retry_policy.with_retries(POLICY, broken(0, 4))
    assert len(pauses) == 3


def test_attempt_gets_the_number_of_failures(pauses: list[float]) -> None:
    seen: list[int] = []

    def attempt(failures: int) -> None:
        seen.append(failures)
        if failures < 2:
            raise ConnectionFailed

    retry_policy.with_retries(POLICY, attempt)
    assert seen == [0, 1, 2]


def test_long_traffic_restarts_the_count(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert retry_policy.with_retries(POLICY, broken(60.01, 20)) == "answer"
    assert pauses == [0.5] * 20
    assert caplog.messages == ["lost; trying again"] * 20
    # Without a warning, a transfer that is always lost would seem to hang.
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize("lasted", [1, 60])
def test_silent_server_does_not_restart_the_count(
    lasted: float, pauses: list[float]
) -> None:
    # Each attempt may last for minutes, but no byte arrived after `lasted` seconds.
    with pytest.raises(ConnectionFailed):
        retry_policy.with_retries(POLICY, broken(lasted, 20))
    assert len(pauses) == 3


def test_patient_request_is_repeated_beyond_the_limit(pauses: list[float]) -> None:
    done = retry_policy.with_retries(POLICY, broken(0, 9), patient=lambda: True)
    assert done == "answer"


def test_login_error_is_not_repeated(pauses: list[float]) -> None:
    def attempt(_: int) -> None:
        raise AuthenticationFailed

    with pytest.raises(AuthenticationFailed):
        retry_policy.with_retries(POLICY, attempt)
    # A repeated wrong password might lock the account.
    with pytest.raises(AuthenticationFailed):
        retry_policy.with_retries(POLICY, attempt, patient=lambda: True)
    assert pauses == []


def test_refused_keys_are_retried_for_ten_minutes(
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def attempt(_: int) -> str:
        if len(pauses) in reached:
            return "answer"
        if len(pauses) in down:
            raise ConnectionFailed("rebooting")
        error = AuthenticationFailed("no home directory")
        error.sent_secret = False
        raise error

    reached, down = [5], [2]
    monkeypatch.setattr(retry_policy.time, "monotonic", lambda: sum(pauses))
    patient = {"patient": lambda: True}
    assert retry_policy.with_retries(POLICY, attempt, **patient) == "answer"
    assert pauses == [0.5, 1, 0.5, 0.5, 1]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    reached.clear()
    with pytest.raises(AuthenticationFailed):
        retry_policy.with_retries(POLICY, attempt, **patient)
    # The last of the doubled pauses would end after 17 minutes.
    assert sum(pauses[5:]) == 600
    assert len(pauses[5:]) == 11


class Unreachable(Transport):
    """A transport to a server that can never be reached."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, *_: object) -> Completed:
        self.runs += 1
        raise ConnectionFailed

    def close(self) -> None:
        """Do nothing: no connection is open."""


REQUESTS: dict[str, Callable[[RemoteQueue, Path], object]] = {
    "status": lambda queue, _: queue.status("job"),
    "statuses": lambda queue, _: queue.statuses(["job", "absent"]),
    "list": lambda queue, _: queue.jobs(),
    "download": lambda queue, folder: queue.download("job", "x", directory=folder),
    "logs": lambda queue, _: list(queue.job("job").logs()),
    "submit": lambda queue, folder: queue.submit("new", folder, "true"),
    "kill": lambda queue, _: queue.kill("job"),
    "delete": lambda queue, _: queue.delete("job"),
    "cleanup": lambda queue, _: queue.cleanup(),
    "setup": lambda queue, _: queue.setup(),
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_caller_sets_number_of_attempts(
    request_name: str, pauses: list[float], tmp_path: Path
) -> None:
    for limit in (1, 3):
        transport = Unreachable()
        retries = Retries(limit=limit)
        queue = RemoteQueue("nowhere", transport=transport, retries=retries)
        with pytest.raises(ConnectionFailed):
            REQUESTS[request_name](queue, tmp_path)
        # Setup is the only request that cannot detect the effect of an earlier attempt.
        assert transport.runs == (1 if request_name == "setup" else limit)


def test_success_shortens_the_next_pause_of_a_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = RemoteQueue("local:", retries=Retries(first=4, longest=60))
    batch = Pauses()
    for is_success in (False, False, True, False):
        if is_success:
            batch.reset(queue)
        else:
            batch.start(queue, ConnectionFailed("cut"))
    pauses = [record.args[1] for record in caplog.records if record.args]
    assert pauses == [8, 16, 8]
