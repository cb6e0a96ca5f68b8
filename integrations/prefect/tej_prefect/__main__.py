"""`python -m tej_prefect`: resumes suspended flow runs whose jobs have ended."""

import time

from tej_prefect.context import run_logger
from tej_prefect.suspend import reconcile

INTERVAL = 60
"""Seconds between two checks of the suspended flow runs."""


def main() -> None:
    """Resume suspended flow runs whose jobs have ended, until Ctrl-C.

    If a check fails because Prefect's API does not reply, the next check is made after
    `INTERVAL` seconds.
    """
    while True:
        try:
            reconcile()
        except Exception as error:
            run_logger().warning("%s; trying again in %d s", error, INTERVAL)
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
