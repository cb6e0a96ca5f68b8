"""Screen of `tej top`: a table of jobs, the output of one job, and keys for actions.

Requests run in daemon threads, which send their results to the screen as messages, so
that the screen never waits for a server.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.coordinate import Coordinate
from textual.events import Key
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from tej import errors
from tej.cli.top_requests import Chosen, ShownQueue, download, read_lines, retry
from tej.job.escaping import escape_line
from tej.job.status import JobState, JobStatus
from tej.job.summary import summarize
from tej.job.table_columns import JobTable
from tej.queue.job_search import newest_first
from tej.queue.logs import LineSplitter, Logs

INTERVAL = 2.0
"""Number of seconds between two requests to a queue."""
MOST_JOBS = 1000
"""Maximum number of jobs of a queue in the table; older jobs are left out."""
TAIL = 200
"""Number of last lines of a job's output that are shown when the job is chosen."""
KEYS = """\
up, down   choose a job
tab        go to the output, to scroll it
k          kill the job
r          start the failed job again, with the same files, from .
d          download files of the job to ./ID
?          this help
q          quit; the jobs continue to run"""


class Update(Message):
    """Message that carries a function; the screen calls it in the UI thread."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.call = call


class Box(ModalScreen[str | None]):
    """A dialog box with a message, and a field to edit `value` if `value` is given.

    The result is the edited value, or "y" if the user pressed y, or else None.
    """

    def __init__(self, text: str, value: str | None = None) -> None:
        super().__init__()
        self._text = text
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Text(self._text))
            if self._value is not None:
                yield Input(self._value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def on_key(self, event: Key) -> None:
        if self._value is None:
            self.dismiss("y" if event.key == "y" else None)
        elif event.key == "escape":
            self.dismiss(None)


class TopScreen(App[None]):
    """The application of textual that `tej top` runs."""

    CSS = """
    #head { height: 1; background: $primary; }
    DataTable { height: 3fr; }
    RichLog { height: 2fr; border-top: solid $primary; }
    Box { align: center middle; }
    Box Vertical { width: 76; height: auto; border: solid $accent; padding: 0 1; }
    """
    BINDINGS: ClassVar = [
        ("k", "kill", "Kill"),
        ("r", "retry", "Retry"),
        ("d", "download", "Download"),
        ("question_mark", "keys", "Help"),
        ("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, shown_queues: list[ShownQueue]) -> None:
        super().__init__()
        self.shown_queues = shown_queues
        self.rows: list[tuple[ShownQueue, JobStatus]] = []
        self.names: list[str] = []
        """Names of the columns, which depend on the parameters of the jobs."""
        self.chosen: Chosen | None = None
        self._chosen_changed = threading.Event()
        self._ended = threading.Event()

    def compose(self) -> ComposeResult:
        # The widgets are attributes, because a query would search only the screen on
        # top, which may be a `Box`.
        self.head = Static(id="head")
        self.table = DataTable(cursor_type="row")
        self.output = RichLog(max_lines=10_000, wrap=True)
        yield from (self.head, self.table, self.output, Footer())

    def on_mount(self) -> None:
        self.table.focus()
        for shown in self.shown_queues:
            self._in_thread(partial(self._read_jobs, shown))
        self._in_thread(self._read_output)

    def on_unmount(self) -> None:
        self._ended.set()
        self._chosen_changed.set()
        for shown in self.shown_queues:
            shown.changed.set()

    # Methods that run in threads.

    def _in_thread(self, work: Callable[[], object]) -> None:
        # The interpreter waits for the threads of a pool at exit, but not for a daemon
        # thread.
        threading.Thread(target=work, name="tej top", daemon=True).start()

    def _update(self, call: Callable[..., object], *arguments: object) -> None:
        # A thread may still run after the event loop has ended; post_message then
        # raises RuntimeError.
        with contextlib.suppress(RuntimeError):
            self.post_message(Update(partial(call, *arguments)))

    def _read_jobs(self, shown: ShownQueue) -> None:
        while not self._ended.is_set():
            shown.changed.clear()
            try:
                shown.jobs = newest_first(shown.queue.jobs())[:MOST_JOBS]
                shown.trouble = ""
            except errors.Error as error:
                shown.trouble = " ".join(str(error).split())
            self._update(self._show_jobs)
            shown.changed.wait(INTERVAL)

    def _read_output(self) -> None:
        reader: tuple[Chosen, Logs, dict[str, LineSplitter]] | None = None
        while not self._ended.is_set():
            self._chosen_changed.clear()
            chosen = self.chosen
            if chosen is not None and (reader is None or reader[0] != chosen):
                streams = ("stdout", "stderr")
                logs = chosen[0].queue.read_logs(chosen[1], streams, tail=TAIL)
                reader = chosen, logs, {name: LineSplitter() for name in logs.positions}
            if reader is not None and reader[0] == chosen:
                self._update(self._show_output, chosen, read_lines(*reader[1:]))
            self._chosen_changed.wait(INTERVAL)

    def _act(self, shown: ShownQueue, work: Callable[[], str]) -> None:
        """Run an action in a thread, and show its text or its error."""

        def run() -> None:
            try:
                self._update(self._show_message, work())
            except (errors.Error, OSError) as error:
                self._update(self._show_message, str(error), "error")
            shown.changed.set()

        self._in_thread(run)

    # Methods that change the screen.

    def on_update(self, message: Update) -> None:
        message.call()

    def _show_jobs(self) -> None:
        """Show the jobs of all queues; the cursor stays on the same job."""
        rows = [(shown, job) for shown in self.shown_queues for job in shown.jobs]
        keys = [(shown, job.job_id) for shown, job in rows]
        names, cells = self._cells(rows)
        if names != self.names or keys != [(one, job.job_id) for one, job in self.rows]:
            self.table.clear(columns=True)
            self.table.add_columns(*names)
            self.table.add_rows(cells)
            self.names = names
            if self.chosen is not None and self.chosen[:2] in keys:
                self.table.move_cursor(row=keys.index(self.chosen[:2]))
        else:
            for number, row in enumerate(cells):
                for column, cell in enumerate(row):
                    at = Coordinate(number, column)
                    self.table.update_cell_at(at, cell, update_width=True)
        self.rows = rows
        self._choose()
        trouble = "; ".join(one.trouble for one in self.shown_queues if one.trouble)
        where = ", ".join(one.queue.destination_string for one in self.shown_queues)
        head = f"{summarize(job for _, job in rows)}  {trouble or where}"
        self.head.update(Text(escape_line(head)))

    def _cells(
        self, rows: list[tuple[ShownQueue, JobStatus]]
    ) -> tuple[list[str], list[list[Text]]]:
        """Return the names of the columns, and the cells of each job."""
        table = JobTable(job for _, job in rows)
        table.names.remove("where")
        cells: list[list[Text]] = []
        for (shown, job), texts in zip(rows, table.texts(), strict=True):
            where = escape_line(shown.queue.destination_string)
            words = [where, *texts] if len(self.shown_queues) > 1 else texts
            style = "green" if job.state is JobState.RUNNING else ""
            cells.append([Text(one, "red" if job.failed else style) for one in words])
        queue = ["queue"] if len(self.shown_queues) > 1 else []
        return [*queue, *map(escape_line, table.names)], cells

    def on_data_table_row_highlighted(self) -> None:
        self._choose()

    def _choose(self) -> None:
        """Show the output of the job at the cursor."""
        number = self.table.cursor_row
        chosen: Chosen | None = None
        if 0 <= number < len(self.rows):
            shown, job = self.rows[number]
            chosen = shown, job.job_id, job.attempt
        if chosen != self.chosen:
            self.chosen = chosen
            self.output.clear()
            title = "" if chosen is None else escape_line(chosen[1])
            self.output.border_title = Text(title)
            self._chosen_changed.set()

    def _show_output(self, chosen: Chosen, lines: list[tuple[str, bool]]) -> None:
        """Show further output, unless another job was chosen in the meantime."""
        if chosen == self.chosen:
            for line, is_stderr in lines:
                text = Text(escape_line(line), "yellow" if is_stderr else "")
                self.output.write(text)

    def _show_message(self, text: str, severity: str = "information") -> None:
        self.notify(escape_line(text), severity=severity, markup=False)

    # Actions of the keys.

    def action_keys(self) -> None:
        """Show the keys."""
        self.push_screen(Box(KEYS))

    def action_kill(self) -> None:
        """Kill the chosen job, if the user confirms."""
        if self.chosen is None:
            return
        shown, job_id, attempt = self.chosen
        # The status identifies the attempt.  If the job is retried before the user
        # confirms, the new attempt is not killed.
        job = next(
            one
            for queue, one in self.rows
            if (queue, one.job_id, one.attempt) == (shown, job_id, attempt)
        )

        def answered(answer: str | None) -> None:
            if answer == "y":
                self._act(shown, lambda: str(shown.queue.kill(job)))

        self.push_screen(Box(f"Kill job '{job_id}'? [y/N]"), answered)

    def action_retry(self) -> None:
        """Start the chosen job again."""
        if self.chosen is not None:
            shown, job_id, _ = self.chosen
            self._act(shown, lambda: retry(shown, job_id))

    def action_download(self) -> None:
        """Download files of the chosen job."""
        if self.chosen is None:
            return
        shown, job_id, _ = self.chosen

        def answered(patterns: str | None) -> None:
            if patterns and patterns.split():
                self._act(shown, lambda: download(shown, job_id, patterns.split()))

        text = f"Files of job '{job_id}' to download to ./{job_id} (escape: none):"
        self.push_screen(Box(text, " ".join(shown.results) or "*"), answered)
