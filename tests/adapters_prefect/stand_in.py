"""Stand-in for `prefect flow-run execute` that starts without the import of Prefect.

python stand_in.py GATE     sets the flow run to Running, and when the gate opens to
                            Completed, in the job of a worker
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

API = os.environ["PREFECT_API_URL"]
FLOW_RUN = os.environ["PREFECT__FLOW_RUN_ID"]


def set_state(kind: str) -> None:
    """Set the state of the flow run."""
    request = urllib.request.Request(
        f"{API}/flow_runs/{FLOW_RUN}/set_state",
        json.dumps({"state": {"type": kind}}).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()


if __name__ == "__main__":
    print("API:", API, flush=True)
    set_state("RUNNING")
    while not Path(sys.argv[1]).exists():
        time.sleep(0.05)
    set_state("COMPLETED")
