"""`python -m tej_luigi`: print job states, fetch results or remove jobs of a pipeline.

    python -m tej_luigi status --module pipeline Summary --walks 20
    python -m tej_luigi fetch  --module pipeline Summary --walks 20
    python -m tej_luigi remove --module pipeline Summary --walks 20 --depth 1

The arguments after the action are the same as for `luigi`.  `fetch` fetches the results
of the jobs.  `remove` deletes jobs on the server and their local results, so that the
tasks run again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import luigi
from luigi.cmdline_parser import CmdlineParser

from tej import Error, JobNotFound, JobStatus
from tej_luigi.batch import TejBatch
from tej_luigi.job_attributes import JobAttributes
from tej_luigi.run import fetch_results
from tej_luigi.status_cache import OpenQueue, cached_statuses, open_queue
from tej_luigi.task import TejTask

Task = TypeVar("Task", bound=luigi.Task)


def find_tasks(root: luigi.Task, depth: float) -> dict[luigi.Task, int]:
    """Return `root` and the tasks that it requires, each with its level.

    `depth` limits the length of the chain of requirements from `root` to a task.  A
    `TejBatch` is replaced by the tasks in the batch, which have the level of the batch.
    The level of a task is larger than the levels of its requirements, and requirements
    come first in the dictionary.
    """
    levels: dict[luigi.Task, int] = {}
    visited: dict[luigi.Task, tuple[float, int]] = {}

    def visit(task: luigi.Task, left: float) -> int:
        known, level = visited.get(task, (-1, 0))
        if known >= left:
            return level
        if left > 0:
            for one in task.deps():
                level = max(level, visit(one, left - 1) + 1)
        visited[task] = (left, level)
        for one in task.jobs() if isinstance(task, TejBatch) else [task]:
            levels[one] = max(level, levels.get(one, 0))
        return level

    visit(root, depth)
    return levels


def describe(task: luigi.Task) -> str:
    """Return the state of a `TejTask`'s job, or whether another task is complete."""
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


def fetch(levels: Mapping[luigi.Task, int]) -> int:
    """Fetch all results and print their directories; return 1 on a failure.

    One request fetches the results of up to a hundred tasks of one level.  The levels
    are fetched one after the other, because the job id of a task may depend on the
    results of its requirements.
    """
    errors: dict[JobAttributes, Exception] = {}
    jobs = [task for task in levels if isinstance(task, TejTask)]
    for level in sorted(set(levels.values())):
        errors |= fetch_results(task for task in jobs if levels[task] == level)

    def report(task: TejTask) -> str:
        if task in errors:
            raise errors[task]
        return str(task.result_files(task.job_id).folder)

    return for_each(jobs, report)


def for_each(tasks: Iterable[Task], action: Callable[[Task], str | None]) -> int:
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
    """Delete the jobs of `tasks` and the local copies of their results.

    Asks for a confirmation unless `confirmed` is true.  Returns 1 on a failure or if
    the user does not confirm, else 0.
    """
    found: dict[TejTask, JobStatus] = {}

    def find(task: luigi.Task) -> str | None:
        if not isinstance(task, TejTask) or (status := task.status()) is None:
            return "no job to remove"
        found[task] = status
        return None

    # All ids are computed before any job is deleted, because the id of a job may depend
    # on the results of another job.
    failed = for_each(tasks, find)
    # Tasks whose jobs have the same signature share one job.
    jobs: dict[OpenQueue, dict[str, JobStatus]] = {}
    for task, status in found.items():
        jobs.setdefault(open_queue(task.address), {})[status.job_id] = status
    if found and not confirmed:
        total = sum(map(len, jobs.values()))
        words = "1 job" if total == 1 else f"{total} jobs"
        print(f"Delete {words} with all results? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 1
    errors = {opened: opened.delete(some) for opened, some in jobs.items()}

    def report(task: TejTask) -> str:
        job_id = found[task].job_id
        error = errors[open_queue(task.address)][job_id]
        if error is not None and not isinstance(error, JobNotFound):
            raise error
        task.result_files(job_id).remove()
        return f"removed job {job_id}"

    return for_each(found, report) or failed


def main(words: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status.

    The exit status is 1 if the action failed for a task, and 141 (SIGPIPE) if the
    program that reads stdout has closed the pipe.
    """
    try:
        return run(words)
    except BrokenPipeError:
        # Redirect stdout, because Python flushes it at exit and would report the broken
        # pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def run(words: Sequence[str] | None) -> int:
    """Run the command, and return 1 if the action failed for a task, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tej_luigi",
        usage="%(prog)s ACTION [--depth N] [--yes] --module MODULE TASK [PARAMETERS]",
        description="Print the states of a pipeline's jobs, fetch the results of the "
        "jobs, or remove the jobs.",
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
    default = 0 if is_removal else float("inf")
    depth = default if options.depth is None else options.depth
    with CmdlineParser.global_instance(rest) as luigi_parser:
        root = luigi_parser.get_task_obj()
        tasks = find_tasks(root, depth)
        # Inside this `with` block, one request reads the statuses of all jobs.
        with cached_statuses():
            if options.action == "fetch":
                return fetch(tasks)
            if is_removal:
                return remove(tasks, confirmed=options.yes)
            return for_each(tasks, describe)


if __name__ == "__main__":
    sys.exit(main())
