"""Time limits and sizes in the documents equal the defaults in the code."""

from __future__ import annotations

import re
from pathlib import Path

import tej
from tej.cli import connect, live_table, top_screen
from tej.queue.grace_period import DEFAULT_GRACE
from tej.queue.job_failure import FAILURE_BYTES, FAILURE_LINES
from tej.queue.request_size import BATCH_JOBS
from tej.transport import open_transport
from tej.transport.io_timeout import IO_TIMEOUT
from tej.transport.persist import DEFAULT_PERSIST
from tej.transport.program_block import _WORTHWHILE
from tej.transport.program_start import NOTICE
from tej.transport.settings import KEEP_ALIVE, KEEP_ALIVE_COUNT, TIMEOUT
from tej.wire.content_store import WORTH_ASKING

CHECKOUT = Path(__file__).parents[2]
WORDS = {1: "one", 2: "two", 3: "three", 10: "ten"}
RETRIES = tej.Retries()


def constant(path: str, name: str) -> int:
    """Return the number that a script, or a module of an adapter, assigns to `name`."""
    text = (CHECKOUT / path).read_text("utf-8")
    (value,) = re.findall(rf"^{name} ?= ?([0-9]+)\b", text, re.MULTILINE)
    return int(value)


def server(name: str, file: str) -> int:
    return constant(f"tej/server/{file}", name)


def prefect(name: str, file: str) -> int:
    return constant(f"integrations/prefect/tej_prefect/{file}", name)


HEARTBEAT = server("heartbeat_interval", "lib/heartbeat.sh")
LOST = server("heartbeat_timeout", "lib/heartbeat.sh")
OVERDUE = server("heartbeat_overdue", "lib/heartbeat.sh")
ON_END = server("on_end_limit", "run_on_end.sh")
CANCEL_GRACE = prefect("CANCEL_GRACE", "worker_job.py")
SUBMIT = prefect("SUBMIT_TIMEOUT", "worker_job.py") // 60
EXPIRY = prefect("EXPIRY", "claims.py") // 60
NO_DATA = "no data transferred during a request, until tej repeats the request (up to "

# Each phrase has only the words that show which number it is, so that most changes of the
# wording need no change here.
PROMISES = {
    "reliability.md": [
        f"attempts per request | {RETRIES.limit}",
        f"from {RETRIES.first:g} s to at most {RETRIES.longest:g} s",
        f"each step of the login | {TIMEOUT:g} s |",
        f"(dead NFS, a hung command) | {IO_TIMEOUT:g} s |",
        f"grace time between SIGTERM and SIGKILL | {DEFAULT_GRACE} s |",
        f"interval of heartbeats | {HEARTBEAT} s |",
        f"other hosts report a job as lost | {LOST} s |",
        f"no longer lists has ended | {OVERDUE} s |",
        f"has requeued it, {OVERDUE} seconds must pass",
        f"has written no heartbeat for {LOST // 60} minutes",
        f"after at least {4 * HEARTBEAT} seconds",
        f"heartbeat, within {HEARTBEAT} s. After {LOST} s without",
    ],
    "connecting.md": [
        f"open for {DEFAULT_PERSIST} seconds",
        f"within these {DEFAULT_PERSIST} seconds",
        f"open for {connect.PERSIST.removesuffix('h')} hours",
        f"`ConnectTimeout`, or {TIMEOUT:g} s if it is not set",
        f"until tej prints a warning | {NOTICE:g} s |",
        f"until tej fails | {IO_TIMEOUT:g} s, without a retry |",
        f"{NO_DATA}{WORDS[RETRIES.limit - 1]} times) | {IO_TIMEOUT:g} s |",
        f"on which no data is sent | {KEEP_ALIVE * KEEP_ALIVE_COUNT:g} s |",
    ],
    "runtimes.md": [
        f"at least {4 * HEARTBEAT} seconds after the first",
        f"requeued it or started it again | {OVERDUE} seconds |",
        f"by force | {LOST // 60} minutes |",
        f"no heartbeat for {OVERDUE} seconds ({LOST // 60} minutes if",
    ],
    "server.md": [
        f"program of more than {_WORTHWHILE:,} bytes",
        f"upload of {WORTH_ASKING >> 20} MiB or more",
        f"writes the heartbeat every {HEARTBEAT} seconds",
        f"After {LOST // 60} minutes without a heartbeat",
    ],
    "commands.md": [
        f"updates the table every {WORDS[int(live_table.INTERVAL)]} seconds",
        f"updates both every {WORDS[int(top_screen.INTERVAL)]} seconds",
        f"After {ON_END} seconds, the command",
        f"or after {connect.PERSIST.removesuffix('h')} hours without use",
    ],
    "graphs.md": [f"with up to {BATCH_JOBS} jobs per round trip"],
    "prefect.md": [
        f"waits up to {CANCEL_GRACE} seconds",
        f"not ended after {CANCEL_GRACE} seconds",
        f"retries a submission for {WORDS[SUBMIT]} minutes",
        f"tries again every {prefect('RETRY', 'worker_job.py')} seconds",
        f"renews its claim every {prefect('PERIOD', 'claims.py')} seconds",
        f"not renewed for {WORDS[EXPIRY]} minutes",
    ],
}


DOCSTRINGS = [
    (tej.RemoteQueue.__init__, f"the ssh configuration, or {TIMEOUT:g})"),
    (tej.RemoteQueue.__init__, f'such as "8h" (default: {DEFAULT_PERSIST} seconds)'),
    (open_transport, f"(default: TEJ_PERSIST, or {DEFAULT_PERSIST} seconds)"),
    (tej.JobFailed, f"at most {FAILURE_LINES} lines and {FAILURE_BYTES >> 10} KiB"),
]


def joined(text: str | None) -> str:
    return " ".join((text or "").split())


def test_documents_state_the_defaults_of_the_code() -> None:
    missing = [
        (name, phrase)
        for name, phrases in PROMISES.items()
        for text in [joined((CHECKOUT / "docs" / name).read_text("utf-8"))]
        for phrase in phrases
        if phrase not in text
    ]
    assert missing == []


def test_docstrings_state_the_defaults_of_the_code() -> None:
    missing = [text for item, text in DOCSTRINGS if text not in joined(item.__doc__)]
    assert missing == []
