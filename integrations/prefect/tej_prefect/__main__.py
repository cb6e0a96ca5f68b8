"""`python -m tej_prefect`: resumes suspended flow runs whose jobs have ended."""

import time

from tej_prefect.context import run_logger
from tej_prefect.suspend import reconcile

INTERVAL = 60
"""Seconds between two checks."""


def main() -> None:
    """Check until interrupted.  If Prefect's API does not answer, try again later."""
    while True:
        try:
            reconcile()
        except Exception as error:
            run_logger().warning("%s; trying again in %d s", error, INTERVAL)
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
