"""`python -m tej_luigi`: prints the jobs of a pipeline, and fetches or removes results.

    python -m tej_luigi status --module pipeline Summary --walks 20
    python -m tej_luigi fetch  --module pipeline Summary --walks 20
    python -m tej_luigi remove --module pipeline Summary --walks 20 --depth 1

The arguments after the action are the same as for `luigi`.  `remove` deletes jobs on
the server and their local results, so that the tasks run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence

import luigi
from luigi.cmdline_parser import CmdlineParser

from tej import Error, JobNotFound, JobStatus
from tej_luigi.batch import TejBatch
from tej_luigi.result_cache import ResultFiles
from tej_luigi.status_cache import OpenQueue, cached_statuses, open_queue
from tej_luigi.task import TejTask


def find_tasks(root: luigi.Task, depth: int | None) -> list[luigi.Task]:
    """Return a task and its requirements down to `depth`, requirements first.

    The tasks in a batch have the same depth as the batch.
    """
    found: dict[luigi.Task, None] = {}

    def visit(task: luigi.Task, left: float) -> None:
        if left > 0:
            for one in task.deps():
                visit(one, left - 1)
        for one in task.jobs() if isinstance(task, TejBatch) else [task]:
            found.setdefault(one)

    visit(root, float("inf") if depth is None else depth)
    return list(found)


def describe(task: luigi.Task) -> str:
    """Return the state of the task's job, or whether another task is complete."""
    if not isinstance(task, TejTask):
        return "complete" if task.complete() else "not complete"
    try:
        status = task.status()
    except Exception:
        missing = [one for one in task.deps() if not one.complete()]
        if not missing:
            raise
        return f"waits for {missing[0]}"
    return "not started" if status is None else status.describe()


def fetch(task: luigi.Task) -> str:
    """Fetch the results of a task, and return the name of their local directory."""
    return str(task.fetch_results()) if isinstance(task, TejTask) else "not a job"


def for_each(
    tasks: Iterable[luigi.Task], action: Callable[[luigi.Task], str | None]
) -> int:
    """Print the result of an action for each task; return 1 if an action failed."""
    failed = 0
    for task in tasks:
        try:
            result = action(task)
        except (Error, OSError) as error:
            failed = 1
            print(f"{task}: {error}", file=sys.stderr)
        else:
            if result is not None:
                print(f"{task}: {result}", flush=True)
    return failed


def remove(tasks: Iterable[luigi.Task], *, confirmed: bool) -> int:
    """Delete jobs and the local copies of their results; return 1 if that failed."""
    found: dict[luigi.Task, tuple[OpenQueue, JobStatus, ResultFiles]] = {}

    def find(task: luigi.Task) -> str | None:
        if not isinstance(task, TejTask) or (status := task.status()) is None:
            return "no job to remove"
        files = task.result_files(status.job_id)
        found[task] = (open_queue(task.address), status, files)
        return None

    # All ids are computed before any job is deleted, because the id of a job may depend
    # on the results of another job.
    failed = for_each(tasks, find)
    # Tasks with equal work share a job.
    wanted: dict[OpenQueue, dict[str, JobStatus]] = {}
    for opened, status, _ in found.values():
        wanted.setdefault(opened, {})[status.job_id] = status
    if found and not confirmed:
        total = sum(map(len, wanted.values()))
        jobs = "1 job" if total == 1 else f"{total} jobs"
        print(f"Delete {jobs} with all results? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 1
    errors = {opened: opened.delete(jobs.values()) for opened, jobs in wanted.items()}

    def report(task: luigi.Task) -> str:
        opened, status, files = found[task]
        error = errors[opened][status.job_id]
        if error is not None and not isinstance(error, JobNotFound):
            raise error
        files.remove()
        return f"removed job {status.job_id}"

    return for_each(found, report) or failed


def main(words: Sequence[str] | None = None) -> int:
    """Run the command, and return 1 if the action failed for a task, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tej_luigi",
        usage="%(prog)s ACTION [--depth N] [--yes] --module MODULE TASK [PARAMETERS]",
        description="Print the states of a pipeline's jobs, or fetch or remove them.",
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=["status", "fetch", "remove"])
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help="levels of requirements to include (default: all; for remove: 0)",
    )
    parser.add_argument("--yes", action="store_true", help="remove without a prompt")
    options, rest = parser.parse_known_args(words)
    is_removal = options.action == "remove"
    depth = 0 if is_removal and options.depth is None else options.depth
    with CmdlineParser.global_instance(rest) as luigi_parser:
        root = luigi_parser.get_task_obj()
        tasks = find_tasks(root, depth)
        if options.action == "fetch":
            return for_each(tasks, fetch)
        # Inside this `with` block, one request reads the statuses of all jobs.
        with cached_statuses():
            if is_removal:
                return remove(tasks, confirmed=options.yes)
            return for_each(tasks, describe)


if __name__ == "__main__":
    sys.exit(main())
