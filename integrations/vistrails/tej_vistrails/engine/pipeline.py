"""Class `Pipeline`: a graph of modules that is executed.  An example of its use:

pipeline = Pipeline()
queue = pipeline.add("Queue", hostname="user@server.example.org")
job = pipeline.add("SubmitShellJob", queue=queue["queue"], source="hostname\\n")
with pipeline.run(wait=True) as execution:
    print(execution.text(job["stdout"]))
"""

from __future__ import annotations

import os

from tej_vistrails.engine import document, vt
from tej_vistrails.engine.execution import Execution
from tej_vistrails.engine.graph import Graph
from tej_vistrails.engine.monitor import JobMonitor


class Pipeline(Graph):
    """A graph of modules that can be loaded from a file and that can be executed."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], version: str | None = None) -> Pipeline:
        """Read a pipeline from a `.json` document or a vistrail (`.vt`, `.xml`).

        `version` is a version number or a tag of a vistrail; the default is the latest
        version.  Raises PipelineError if the pipeline cannot be read."""
        if os.fspath(path).endswith(".json"):
            return document.load(cls, path)
        return vt.load(cls, path, version)

    def run(
        self,
        monitor: JobMonitor | None = None,
        *,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Execution:
        """Execute the pipeline.  If `wait` is True, wait until no job is running.

        The returned execution has the attributes `errors` and `suspended`.  Raises
        WaitTimeout after `timeout` seconds, but does not stop the jobs.
        """
        execution = Execution(self, monitor or JobMonitor())
        try:
            execution.run()
            if wait:
                execution.wait(timeout)
        except BaseException:
            execution.close()
            raise
        return execution
