"""Prefect flow that estimates pi: many jobs throw darts at random and count the hits.

    python sweep.py [DESTINATION]     user@server.example.org; by default this machine

The flow starts one job for each seed.  A second run of the script finds all jobs on
the server and starts no job.
"""

import sys
from pathlib import Path

from prefect import flow, get_run_logger

from tej_prefect import TejDestination, template_task

HERE = Path(__file__).parent
DESTINATION = TejDestination(destination=sys.argv[1] if sys.argv[1:] else "local:")

throw = template_task(HERE / "throw", DESTINATION, results=["hits.csv"])


@flow
def estimate_pi(jobs: int = 10, throws: int = 200_000) -> float:
    results = throw.map(seed=range(jobs), throws=throws).result()
    hits = sum(int(one.path("hits.csv").read_text().split(",")[2]) for one in results)
    pi = 4 * hits / (jobs * throws)
    found = sum(one.found for one in results)
    get_run_logger().info("pi is about %.4f (%d jobs were found)", pi, found)
    return pi


if __name__ == "__main__":
    print(estimate_pi())
