"""`python -m tej_prefect`: looks every minute for flow runs that can be resumed."""

import time

from tej_prefect.custody import run_logger
from tej_prefect.resumer import kill_cancelled, resume_done

INTERVAL = 60
"""Seconds between two looks."""


def main() -> None:
    """Until it is interrupted.  Prefect's server may be away for a while."""
    while True:
        try:
            resume_done()
            kill_cancelled()
        except Exception as error:
            run_logger().warning("%s; trying again in %d s", error, INTERVAL)
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
