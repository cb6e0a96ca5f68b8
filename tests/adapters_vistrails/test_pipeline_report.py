"""Report of a pipeline: the columns of the results."""

from __future__ import annotations

from tej_vistrails import Pipeline, Plan
from tej_vistrails.pipeline.html_report import Results, result_rows
from tests.adapters_vistrails.modules import Relax, Total


def test_column_has_values_of_one_module() -> None:
    a, b = (Relax(structure=__file__, name=name) for name in "ab")
    b.label = "b"
    total = Total(parts=[a.energy, b.energy])
    plan = Plan(Pipeline(total).explore({"a.steps": [1, 2]}))
    results = {job_id: Results() for job_id in plan.jobs}
    for job_id, job in plan.jobs.items():
        results[job_id].values.update(energy=job.title, steps=1, note="")
    # The job of module `a` has no results in the second point.
    del results[plan.points[1].ids["a"]]
    first, second = (values for _, values in result_rows(plan.points, results))
    assert first["a.energy"] == "a a.steps=1"
    assert first["b.energy"] == second["b.energy"] == "b"
    assert "energy" not in second
    assert "a.energy" not in second
