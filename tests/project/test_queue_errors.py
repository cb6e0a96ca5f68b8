"""No module concludes from QueueDoesntExist that a job does not exist."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
BASE_CLASS_USERS = {
    "tej/__init__.py",
    "tej/errors.py",
    # These modules repeat the request, and job_follower.py checks for QueueNotFound
    # before it gives up.
    "tej/queue/wait_request.py",
    "integrations/prefect/tej_prefect/job_follower.py",
    # The status is treated as unknown, and a later request raises the error.
    "integrations/prefect/tej_prefect/batch.py",
}


def test_only_listed_modules_use_queue_doesnt_exist() -> None:
    # A new module that is found here needs QueueNotFound instead, if it concludes that
    # there is no job: a queue behind a broken link may have running jobs.
    found = {
        path.relative_to(CHECKOUT).as_posix()
        for pattern in ("tej/**/*.py", "integrations/*/tej_*/**/*.py")
        for path in CHECKOUT.glob(pattern)
        if "QueueDoesntExist" in path.read_text("utf-8")
    }
    assert found == BASE_CLASS_USERS
