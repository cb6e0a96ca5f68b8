"""Attributes of a `TejTask` that describe its job, and methods that make the job.

The attributes are properties of the class, like Luigi's own `priority`.  The attributes
are not parameters, so they are not part of the task's id.  A subclass sets an attribute
as a class attribute, or overrides the property if its value depends on parameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import luigi
from luigi.parameter import ParameterVisibility

from tej import (
    JobSpec,
    Resources,
    check_job_id,
    make_id,
    signature,
)
from tej_luigi.config import QueueAddress, TejConfig, find_address
from tej_luigi.rendering import Recipe, render, render_shell
from tej_luigi.result_cache import ResultFiles


class JobAttributes(luigi.Task):
    """The attributes of a `TejTask` that describe its job."""

    @property
    def directory(self) -> str | os.PathLike[str] | None:
        """Local directory to upload; a required task may create the directory."""
        return None

    @property
    def rendered(self) -> Sequence[str]:
        """Patterns of template files in the directory, such as `*.in`."""
        return ()

    @property
    def inline(self) -> str | None:
        """Template of the script `start.sh`.

        Without `directory`, this script is the only file of the job.
        """
        return None

    @property
    def command(self) -> str | None:
        """Template of the command that the job runs.

        The command is either a file in the directory, followed by its arguments, or a
        shell command.  If the value is None, the job runs `start.sh`.
        """
        return None

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables of the job; the values are templates."""
        return {}

    @property
    def results(self) -> Sequence[str]:
        """Paths or patterns of the files to fetch from the job's directory.

        `Optional(name)` marks a file as optional: if the job does not produce this
        file, no error is raised.
        """
        return ()

    @property
    def job_resources(self) -> Resources | None:
        """Resources that the job requests on the server; not Luigi's `resources`."""
        return None

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the job, like the option `--label` of `tej submit`."""
        return {}

    @property
    def login(self) -> bool:
        """Whether the login profile is sourced before the job starts."""
        return False

    @property
    def job_id_is_task_id(self) -> bool:
        """Whether the job's id is the task's id instead of the signature."""
        return False

    # Properties that override settings of `TejConfig` for one task.

    @property
    def destination(self) -> str | None:
        """Destination of the job; overrides the setting `destination` of `TejConfig`.

        If the value is None, the configured value is used.  `queue`, `runtime` and the
        other settings below also use the configured value if they are None.
        """
        return None

    @property
    def queue(self) -> str | None:
        return None

    @property
    def runtime(self) -> str | None:
        return None

    @property
    def poll(self) -> float | None:
        return None

    @property
    def retry(self) -> int | None:
        return None

    @property
    def results_directory(self) -> str | os.PathLike[str] | None:
        return None

    @property
    def tracking_url(self) -> str | None:
        return None

    def variables(self) -> Mapping[str, object]:
        """Return the values that replace `{{name}}` in templates, by name.

        The default values are the significant, public parameters of the task, as they
        are written on the command line.  Subclasses may add other values.
        """
        parameters = dict(self.get_params())
        return {
            name: parameters[name].serialize(value)
            for name, value in self.param_kwargs.items()
            if parameters[name].significant
            and parameters[name].visibility == ParameterVisibility.PUBLIC
        }

    def after_fetch(self) -> None:
        """Process the fetched results; a subclass may override this method.

        If the method raises an exception, the results are fetched again, and the method
        is called again, when the task next runs or a result is opened.
        """

    # Methods that return the job and its id.

    @property
    def address(self) -> QueueAddress:
        """The address of the job's queue.

        Raises InvalidDestination if no destination is configured.
        """
        return find_address(self.destination, self.queue, self.runtime)

    @property
    def job_id(self) -> str:
        """The id of the job.

        Raises InvalidJobDirectory if the job's directory does not exist.
        """
        if self.job_id_is_task_id:
            return check_job_id(self.task_id)
        return self.signature_id()

    def signature_id(self) -> str:
        """Return the job id that is made from the signature of the job.

        The signature is computed again only if the files, the command or the
        environment of the task have changed.
        """
        recipe = self._recipe()
        current = (recipe, recipe.file_states())
        known, job_id = self.__dict__.get("_signed", (None, ""))
        if current[1] is None or current != known:
            with recipe.folder() as folder:
                job_id = make_id(signature(folder, recipe.command, recipe.environment))
            self.__dict__["_signed"] = (current, job_id)
        return str(job_id)

    @contextmanager
    def job_spec(self) -> Iterator[JobSpec]:
        """Yield the specification of the job.

        The directory of the job may be removed when the context ends.
        """
        recipe = self._recipe()
        with recipe.folder() as folder:
            yield JobSpec(
                folder,
                recipe.command,
                check_job_id(self.task_id) if self.job_id_is_task_id else None,
                self.task_family,
                dict(self.labels),
                recipe.environment,
                self.job_resources,
                self.login,
            )

    def _recipe(self) -> Recipe:
        values = {name: str(value) for name, value in self.variables().items()}
        command = self.command
        if command is not None:
            command = render_shell(command, values, "`command`")
        environment = {
            name: render(value, values, f"`environment` of {name}")
            for name, value in self.environment.items()
        }
        directory = None if self.directory is None else Path(self.directory)
        rendered = tuple(self.rendered)
        return Recipe(directory, rendered, self.inline, values, command, environment)

    # Methods for the local results of the job.

    def result_files(self, job_id: str) -> ResultFiles:
        """Return an object that manages the local copy of the job's results."""
        parent = self.results_directory or TejConfig().results_directory
        return ResultFiles(Path(parent) / job_id, self.results)

    def run_after_fetch(self) -> None:
        """Call `after_fetch`.

        While `after_fetch` runs, the task's result targets do not fetch the results.
        """
        self._in_after_fetch = True
        try:
            self.after_fetch()
        finally:
            self._in_after_fetch = False
