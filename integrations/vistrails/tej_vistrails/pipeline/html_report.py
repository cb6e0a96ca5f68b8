"""Report of a pipeline: one HTML file with the graph, the results and the failures.

The file needs no server and no network: images are part of the file.
"""

from __future__ import annotations

import base64
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

import tej
from tej_vistrails.pipeline.drawing import (
    COLOURS,
    count_states,
    describe_counts,
    draw,
)
from tej_vistrails.pipeline.execution import MAX_FAILURES, Execution
from tej_vistrails.pipeline.plan import Point, format_values
from tej_vistrails.pipeline.step_state import Step, StepState

IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
TEXTS = (".json", ".txt", ".csv", ".tsv", ".dat", ".md")
MAX_IMAGE = 4 * 1024 * 1024
MAX_TEXT = 1000

_STYLE = """
:root { color-scheme: light dark; --text: #222; --page: #fff; --weak: #666;
        --line: #ddd; --area: #f5f5f5; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --page: #16191d; --weak: #9aa4ae; --line: #3a4048;
          --area: #22272d; }
  .module > rect:first-of-type { fill: var(--area); }
  a { color: #8ab4f8; }
}
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px;
       padding: 0 1rem; color: var(--text); background: var(--page); }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; }
.about { color: var(--weak); }
.scroll { overflow-x: auto; }
svg { max-width: max(100%, 900px); height: auto; }
svg .name { fill: var(--text); } svg .note { fill: var(--weak); }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left;
         vertical-align: top; }
th { background: var(--area); white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.text { max-height: 4.4em; max-width: 24rem; overflow: auto; white-space: pre-wrap;
        width: max-content; overflow-wrap: anywhere; }
.state { color: #fff; border-radius: .6rem; padding: 0 .5rem; white-space: nowrap; }
.images { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); padding: .5rem; max-width: 260px; }
figure img { max-width: 100%; display: block; background: #fff; }
figcaption { font-size: 12px; color: var(--weak); overflow-wrap: anywhere; }
pre { background: var(--area); border-left: 4px solid #c62828; padding: .6rem;
      overflow-x: auto; white-space: pre-wrap; }
code { font-size: 12px; }
"""


def write_report(execution: Execution, path: str | Path) -> Path:
    """Write the report of a pipeline or an exploration to an HTML file.

    The outputs that are images or text files are downloaded.
    """
    steps = execution.steps()
    failures = dict(itertools.islice(execution.failures(steps), MAX_FAILURES))
    with tempfile.TemporaryDirectory() as temporary:
        results = _fetch_results(execution, steps, Path(temporary))
        base = execution.plan.points[0].pipeline
        graph = draw(base, count_states(execution.plan, steps))
        html = "\n".join(_page(execution, steps, results, failures, graph))
    target = Path(path)
    target.write_text(html, encoding="utf-8")
    return target


class Results:
    """Small outputs of one job: images as data URLs, values and texts."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.values: dict[str, object] = {}

    def add(self, name: str, path: Path) -> None:
        suffix = path.suffix.lower()
        if not path.is_file():
            return
        if suffix in IMAGES and path.stat().st_size <= MAX_IMAGE:
            data = base64.b64encode(path.read_bytes()).decode()
            self.images[name] = f"data:{IMAGES[suffix]};base64,{data}"
        elif suffix in TEXTS:
            text = path.read_text("utf-8", "replace")
            self.values.update(_values(name, text, is_json=suffix == ".json"))


def _values(name: str, text: str, *, is_json: bool) -> Iterator[tuple[str, object]]:
    if is_json:
        try:
            document = json.loads(text)
        except ValueError:
            document = text
        if isinstance(document, dict) and len(document) <= 10:
            for key, value in document.items():
                is_scalar = isinstance(value, str | int | float | None)
                yield key, value if is_scalar else json.dumps(value)[:MAX_TEXT]
            return
    yield name, text.strip()[:MAX_TEXT]


def _fetch_results(
    execution: Execution, steps: Mapping[str, Step], folder: Path
) -> dict[str, Results]:
    wanted = {
        job_id: [
            path
            for path in step.job.outputs
            if Path(path).suffix.lower() in (*IMAGES, *TEXTS)
        ]
        for job_id, step in steps.items()
        if step.state is StepState.SUCCEEDED
    }
    wanted = {job_id: paths for job_id, paths in wanted.items() if paths}
    if wanted:
        execution.queue.download_many(wanted, directory=folder)
    found: dict[str, Results] = {}
    for job_id in wanted:
        found[job_id] = results = Results()
        for name, path in steps[job_id].job.module.output_paths.items():
            results.add(name, folder / job_id / path)
    return found


def _page(
    execution: Execution,
    steps: Mapping[str, Step],
    results: Mapping[str, Results],
    failures: Mapping[str, tej.JobFailed],
    graph: str,
) -> Iterator[str]:
    plan = execution.plan
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    place = f"{execution.queue.destination_string}, queue {execution.queue.queue}"
    yield "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
    yield "<meta name='viewport' content='width=device-width'>"
    yield f"<title>Pipeline {escape(plan.name)}</title><style>{_STYLE}</style></head>"
    yield f"<body><h1>{escape(plan.name)}</h1>"
    counts = describe_counts(Counter(step.state for step in steps.values()))
    about = f"{len(steps)} jobs: {counts} · {place} · {now}"
    yield f"<p class='about'>{escape(about)}</p>"
    yield f"<h2>Graph</h2><div class='scroll'>{graph}</div>"
    yield from _results_table(plan.points, steps, results)
    yield from _gallery(steps, results)
    if failures:
        yield "<h2>Failures</h2>"
        for job_id, error in failures.items():
            name = escape(steps[job_id].job.title)
            yield f"<h3 id='{job_id}'>{name} <code>{job_id}</code></h3>"
            yield f"<pre>{escape(str(error))}</pre>"
    yield from _jobs_table(steps)
    yield "</body></html>\n"


def _results_table(
    points: Sequence[Point],
    steps: Mapping[str, Step],
    results: Mapping[str, Results],
) -> Iterator[str]:
    rows = [*result_rows(points, results)]
    parameters = [*dict.fromkeys(key for one, _ in rows for key in one.parameters)]
    columns = [*dict.fromkeys(key for _, values in rows for key in values)]
    yield "<h2>Results</h2><div class='scroll'><table><tr>"
    yield "".join(f"<th>{escape(one)}</th>" for one in [*parameters, "state", *columns])
    yield "</tr>"
    for point, values in rows:
        wanted = [one for one in point.ids.values() if steps[one].job.is_wanted]
        states = "".join(_state(steps[one]) for one in wanted)
        states += "".join(
            f" <a href='#{one}'>{escape(name)} failed</a>"
            for name, one in point.ids.items()
            if steps[one].state is StepState.FAILED and one not in wanted
        )
        cells = [_cell(point.parameters.get(one, "")) for one in parameters]
        cells.append(f"<td>{states}</td>")
        cells += [_cell(values.get(one, "")) for one in columns]
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</table></div>"


def result_rows(
    points: Sequence[Point], results: Mapping[str, Results]
) -> Iterator[tuple[Point, dict[str, object]]]:
    """Yield each point with a dictionary from column names to values.

    If several modules use the same name, the column name begins with the module name in
    all points, even in a point where only one of these modules has a result.
    """
    modules: dict[str, set[str]] = {}
    for point in points:
        for key in point.parameters:
            modules.setdefault(key, set()).add("")
        for name, job_id in point.ids.items():
            for key in results[job_id].values if job_id in results else ():
                modules.setdefault(key, set()).add(name)
    for point in points:
        yield (
            point,
            {
                key if len(modules[key]) == 1 else f"{name}.{key}": value
                for name, job_id in point.ids.items()
                if job_id in results
                for key, value in results[job_id].values.items()
            },
        )


def _gallery(
    steps: Mapping[str, Step], results: Mapping[str, Results]
) -> Iterator[str]:
    figures = []
    for job_id, found in results.items():
        for port, url in found.images.items():
            job = steps[job_id].job
            words = [f"{job.module.name}.{port}", *format_values(job.parameters)]
            text = escape(" ".join(words))
            figures.append(
                f"<figure><img src='{url}' alt='{text}'>"
                f"<figcaption>{text}</figcaption></figure>"
            )
    if figures:
        yield "<h2>Images</h2><div class='images'>"
        yield from figures
        yield "</div>"


def _jobs_table(steps: Mapping[str, Step]) -> Iterator[str]:
    yield "<h2>Jobs</h2><div class='scroll'><table><tr>"
    names = ("module", "state", "job", "host", "started", "duration")
    yield "".join(f"<th>{one}</th>" for one in names) + "</tr>"
    for job_id, step in steps.items():
        status = step.status
        started = duration = host = ""
        if status is not None:
            host = status.host or ""
            if status.started is not None:
                local = status.started.astimezone()
                started = local.strftime("%Y-%m-%d %H:%M:%S")
            if status.duration is not None:
                duration = tej.format_duration(status.duration)
        yield (
            f"<tr>{_cell(step.job.title)}<td>{_state(step)}</td>"
            f"<td><code>{job_id}</code></td>{_cell(host)}{_cell(started)}"
            f"{_cell(duration)}</tr>"
        )
    yield "</table></div>"


def _state(step: Step) -> str:
    note = (step.status.note if step.status else None) or ""
    return (
        f"<span class='state' title='{escape(note)}' "
        f"style='background:{COLOURS[step.state]}'>{step.state}</span> "
    )


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        return f"<td class='number'>{text}</td>"
    text = json.dumps(value) if isinstance(value, bool | None) else str(value)
    return f"<td><div class='text'>{escape(text)}</div></td>"
