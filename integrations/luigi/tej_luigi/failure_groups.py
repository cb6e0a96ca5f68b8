"""Error message of a failed `TejBatch`: its failed tasks, grouped by reason.

The lines of stderr come from the message of `tej.JobFailed`, and their number is set in
`tej/queue/job_failure.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tej import Error, JobFailed
from tej_luigi.job_attributes import JobAttributes
from tej_luigi.run import JobRun

MAX_REASONS = 10
"""Maximum number of groups with details, and of different messages in a group."""


def describe_failures(run: JobRun) -> str:
    """Return a report of all failed tasks, grouped by the reason for the failure.

    Each group has a reason (such as the exit code), the tasks, and an error message.
    The message for failed jobs includes the stderr of one job.
    """
    groups: dict[str, list[tuple[JobAttributes, Exception]]] = {}
    for task, error in run.errors.items():
        groups.setdefault(_reason(error), []).append((task, error))
    total, failed = len(run.tasks), len(run.errors)
    lines = [
        f"{failed} of {total} tasks failed; the next run does not repeat the "
        f"{total - failed} successful tasks"
    ]
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    for number, (reason, members) in enumerate(ordered):
        lines += ["", f"{reason}: {len(members)} tasks" if len(members) > 1 else reason]
        for task, error in members:
            job_id = getattr(error, "job_id", None)
            lines.append(f"  {task}" + (f"  job {job_id}" if job_id else ""))
        if number < MAX_REASONS:
            lines += [f"    {line}" for line in _details([one for _, one in members])]
    return "\n".join(lines)


def _reason(error: Exception) -> str:
    if not isinstance(error, JobFailed) or error.state is None:
        return type(error).__name__
    if error.signal is not None:
        return f"{error.state}, signal {error.signal}"
    return error.state if error.exit_code is None else f"exit code {error.exit_code}"


def _details(errors: Sequence[Exception]) -> list[str]:
    """Return the distinct messages of a group of errors.

    For failed jobs, return the longest message, which includes the stderr of a job.
    """
    if isinstance(errors[0], JobFailed):
        # Reading stderr costs a request, so only some of the messages include it.
        return max(map(str, errors), key=len).splitlines()
    # The class is added because the message of an error that does not come from tej,
    # such as KeyError, may be unclear without the class.
    messages = dict.fromkeys(
        str(one) if isinstance(one, Error) else f"{type(one).__name__}: {one}"
        for one in errors
    )
    return [line for one in [*messages][:MAX_REASONS] for line in one.splitlines()]
