"""Job to upload: a `JobSpec` with the content of its directory, id and signature."""

from __future__ import annotations

import math
import secrets
import shlex
from functools import cached_property, partial
from pathlib import Path

from tej.errors import Error, InvalidJobDirectory
from tej.job.case_conflict import find_case_conflict
from tej.job.dependencies import NO_DEPENDENCIES, Dependencies, check_inputs
from tej.job.directory import scan
from tej.job.directory_entry import Entry
from tej.job.environment import check_environment
from tej.job.file_content import check_unchanged, read_files
from tej.job.file_mapping import list_job
from tej.job.job_id import check_job_id, make_job_id
from tej.job.job_name import make_job_name
from tej.job.resources import Resources
from tej.job.shared_input import mark_shared
from tej.job.signature import compute, make_id
from tej.job.spec import JobSpec
from tej.job.start_script import Command, check_sent, check_text
from tej.wire.content_store import HUGE, LARGE, Plan, is_sparse, plan
from tej.wire.records import PARAMETER, RESOURCE, SCRIPT_SHOWN, make_spec
from tej.wire.tar_writer import PackedJob, TextMember


class PreparedJob:
    """A `JobSpec` whose directory has been listed.

    If `signed` is true, the content of all files is also read to compute the signature.
    Each file is checked again when it is sent, so that exactly the content in the
    signature is sent.  If `new_id` is true, a job without an id gets a new unique id
    instead of the id made from its signature.  `needs` are the dependencies of the job,
    as resolved by `queue/dependency_references.py`.  Raises InvalidJobDirectory if the
    directory cannot be submitted, and InvalidJobId if the id is invalid.
    """

    def __init__(
        self,
        spec: JobSpec,
        user: str,
        submitter: str,
        *,
        signed: bool,
        new_id: bool = False,
        needs: Dependencies = NO_DEPENDENCIES,
    ) -> None:
        self.spec = spec
        self.needs = needs
        self.folder = Path(spec.directory if spec.files is None else spec.title)
        self.submitter = submitter
        self.token = secrets.token_hex(16)
        """Random token by which the server recognizes a repeated submission."""
        self.left_out: list[Path] = []
        """Files and folders of development tools, such as `.git`, which are not
        uploaded."""
        self.ignored: list[Path] = []
        """Files and folders that `.tejignore` or the JobSpec excludes."""
        self.signature: str | None = None
        check_environment({**spec.environment, **spec.parameters})
        if not isinstance(spec.resources, Resources | None):
            raise InvalidJobDirectory(
                "`resources` must be a `tej.Resources`, not a value of type "
                f"{type(spec.resources).__name__}"
            )
        if spec.on_end is not None:
            check_text(spec.on_end, "a command to run at the end")
        try:
            self._read(signed=signed)
        except (OSError, RuntimeError, UnicodeError, ValueError) as error:
            if isinstance(error, Error):
                raise
            raise InvalidJobDirectory(
                f"The job directory '{self.folder}' cannot be read: {error}"
            ) from error
        if spec.job_id is not None:
            self.job_id = check_job_id(spec.job_id)
        elif self.signature is not None and not new_id:
            self.job_id = make_id(self.signature)
        else:
            self.job_id = make_job_id(self.name, user)

    def _read(self, *, signed: bool) -> None:
        listing = partial(
            scan,
            everything=self.spec.everything,
            ignore=self.spec.ignore,
            left_out=self.left_out,
            ignored=self.ignored,
        )
        self.command: Command
        self.entries: list[Entry]
        self.command, self.entries = list_job(
            self.spec.directory, self.spec.files, self.spec.script, listing
        )
        self.entries = mark_shared(self.entries, self.spec.shared, self.folder)
        check_sent(self.command, self.entries, self.folder)
        check_inputs(self.needs, self.entries)
        if signed:
            self.entries = read_files(self.entries)
            self.signature = self._sign(self.entries)

    def _sign(self, entries: list[Entry]) -> str:
        return compute(self.command, entries, self.spec.environment, self.needs)

    @cached_property
    def name(self) -> str:
        """The name of the job in the JobSpec, or else the name of the directory."""
        return self.spec.title

    @property
    def size(self) -> int:
        """Total size in bytes of the files in the job directory."""
        return sum(entry.size for entry in self.entries if entry.is_file)

    @property
    def features(self) -> set[str]:
        """Names in `requests.FEATURES` that the server must support to run the job."""
        return {
            name
            for name, is_used in (
                ("dependencies", self.needs.ids),
                ("on_end", self.spec.on_end is not None),
                ("shared_input", self.spec.shared),
            )
            if is_used
        }

    @property
    def has_shared(self) -> bool:
        """Whether the server keeps one copy of a file of the job for all jobs."""
        return any(one.is_shared and one.size >= LARGE for one in self.entries)

    @property
    def is_sparse(self) -> bool:
        """Whether the job has sparse files, whose holes need not be sent."""
        return any(map(is_sparse, self.entries))

    def find_change(self) -> InvalidJobDirectory | None:
        """Return the error for a file that has changed since it was read, or None."""
        try:
            for entry in self.entries:
                check_unchanged(entry)
        except InvalidJobDirectory as error:
            return error
        return None

    def find_case_conflict(self) -> InvalidJobDirectory | None:
        """Return the error for two paths that differ only in case, or None."""
        return find_case_conflict(self.folder, self.entries)

    def prepare_plan(self, *, huge: bool) -> None:
        """Read the large files to compute their digests: their content store names.

        Files of HUGE bytes or more are read only if `huge` is true or if they are
        shared.  If the job is signed, all files have been read before.
        """
        limit = math.inf if huge else HUGE
        chosen = [
            one
            for one in self.entries
            if one.size >= LARGE and (one.size < limit or one.is_shared)
        ]
        read = {one.path: one for one in read_files(chosen)}
        self.entries = [read.get(one.path, one) for one in self.entries]

    @cached_property
    def plan(self) -> Plan:
        """The files for the content store, and how to assemble the job from them."""
        return plan(self.entries, self.command.script)

    def pack(self, *, from_objects: bool = False, by_id: bool = False) -> PackedJob:
        """Return the job's part of the archive, with the directory for its files.

        The name of the directory is the job's token, or `new/ID` if `by_id` is true.
        If `from_objects` is true, the part contains only the files that are not sent as
        objects of the content store; otherwise it contains all files.
        """
        entries = self.plan.inline if from_objects else self.entries

        def text_members(sent: list[Entry]) -> list[TextMember]:
            members: list[TextMember] = []
            if self.spec.on_end is not None:
                line = f"export TEJ_JOB_NAME={shlex.quote(self.name)}\n"
                members += [
                    TextMember("on_end", f"{self.spec.on_end}\n"),
                    TextMember("on_end_environment", self._exports() + line),
                ]
            if from_objects:
                members.append(TextMember("assembly", self.plan.assembly))
            if self.needs.ids:
                members.append(TextMember("dependencies", self.needs.text()))
            resources = "".join(f"{line}\n" for line in self.resource_lines())
            command = f"{self._exports()}{self.command.text}\n"
            description = self._description(sent, from_objects=from_objects)
            # `spec` is last, because it shows the server that the job is complete.
            return [
                *members,
                TextMember("resources", resources),
                TextMember("command", command),
                TextMember("spec", description),
            ]

        name = f"new/{self.job_id}" if by_id else self.token
        return PackedJob(name, entries, self.command.script, text_members)

    def _description(self, sent: list[Entry], *, from_objects: bool) -> str:
        if self.signature is not None:
            digest = self.signature
        else:
            # `sent` contains the digests that were computed during the upload, so that
            # no file is read twice.
            stored = self.plan.stored if from_objects else []
            digest = self._sign([*sent, *stored])
        facts = {
            "name": self.name,
            "submitter": self.submitter,
            "script": self.command.canonical[:SCRIPT_SHOWN],
            "signature": digest,
            "login": "1" if self.spec.login else "",
            "after": "/".join(self.needs.ids),
            "shared": "\n".join(self.spec.shared),
        }
        facts |= {
            f"{PARAMETER}{name}": value for name, value in self.spec.parameters.items()
        }
        for key, value in (self.spec.resources or Resources()).as_dict().items():
            facts[f"{RESOURCE}{key}"] = value
        return make_spec(self.token, facts, self.spec.labels)

    def _exports(self) -> str:
        return "".join(
            f"export {name}={shlex.quote(value)}\n"
            for name, value in self.spec.environment.items()
        )

    def resource_lines(self) -> list[str]:
        """Return the lines of the file `resources`.

        The line `script=` contains the name of the job's file that may contain
        directives for the scheduler.
        """
        lines = list((self.spec.resources or Resources()).lines())
        lines.append(f"default_name={make_job_name(self.name)}")
        script = self.command.script or self._script_in_command()
        if script is not None and "\n" not in script:
            lines.append(f"script={script}")
        return lines

    def _script_in_command(self) -> str | None:
        """Return the job's file that a command like `sh start.sh 3` runs, or None."""
        try:
            words = shlex.split(self.command.text)
        except ValueError:
            return None
        files = {entry.path for entry in self.entries if entry.is_file}
        found = (word.removeprefix("./") for word in words)
        return next((word for word in found if word in files), None)
