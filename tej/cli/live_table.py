"""Live table of `tej list --watch`: update a table of jobs until Ctrl-C."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import datetime

from tej.cli.colours import has_colours, paint
from tej.cli.table_output import print_table
from tej.errors import ConnectionFailed
from tej.job.escaping import escape_line
from tej.job.summary import summarize
from tej.job.table_columns import JobTable

INTERVAL = 2.0
"""Number of seconds between two requests of `tej list --watch`."""


def watch(get_table: Callable[[], JobTable], place: str) -> None:
    """Show the table on the whole terminal, and update the table until Ctrl-C.

    The last table is printed at the end.  If the server cannot be reached, the last
    table stays on the screen, with a line that shows the time of the table and the
    error.
    """
    from rich.live import Live
    from rich.text import Text

    updated, trouble = datetime.now().astimezone(), ""
    table = get_table()
    try:
        with Live(screen=True, auto_refresh=False) as live:
            while True:
                counts = summarize(table.jobs)
                head = f"{counts}, at {updated:%H:%M:%S}{trouble}  {place}"
                text = Text.from_ansi(
                    "\n".join(screen_lines(table, head)), no_wrap=True, overflow="crop"
                )
                live.update(text, refresh=True)
                time.sleep(INTERVAL)
                now = datetime.now().astimezone()
                try:
                    table, trouble, updated = get_table(), "", now
                except ConnectionFailed as error:
                    trouble = f"; since then: {error}"
    except KeyboardInterrupt:
        print_table(table)


def screen_lines(table: JobTable, head: str) -> list[str]:
    """Return the lines of a table for one screen, with a line `head` above the table.

    If the table has more lines than the screen, the last line shows the number of
    hidden jobs.
    """
    width, height = shutil.get_terminal_size()
    style = paint if has_colours() else None
    lines = [escape_line(head)[:width], *table.lines(width, style)]
    if not table.jobs:
        lines[1:] = ["No jobs"]
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines[height - 1 :] = [f"... and {hidden} more"]
    return lines
