"""A job read from its directory and ready to be uploaded."""

from __future__ import annotations

import math
import secrets
import shlex
from functools import cached_property
from pathlib import Path

from tej.job.directory import Command, Entry, check_sent, find_command, scan
from tej.job.resources import Resources, make_job_name
from tej.job.signature import compute, digest_files, make_id
from tej.job.spec import JobSpec, check_environment
from tej.job.status import check_job_id, make_job_id
from tej.wire import protocol
from tej.wire.archive import Parcel
from tej.wire.content_store import HUGE, LARGE, Plan, plan


class Work:
    """A `JobSpec` whose directory was read: all that can be wrong with it was found."""

    def __init__(
        self, spec: JobSpec, user: str, submitter: str, *, signed: bool
    ) -> None:
        self.spec = spec
        self.folder = Path(spec.directory)
        self.command: Command = find_command(self.folder, spec.script)
        self.entries: list[Entry] = list(scan(self.folder))
        check_sent(self.command, self.entries, self.folder)
        check_environment(spec.environment)
        self.submitter = submitter
        self.token = secrets.token_hex(16)
        """Tells the server that a second try is the same submission."""
        self.contents: dict[str, str] = {}
        """The SHA-256 of files, as far as they were asked for."""
        self.signature: str | None = None
        if signed:
            self.contents = digest_files(self.entries)
            self.signature = compute(
                self.command, self.entries, spec.environment, self.contents
            )
        if spec.job_id is not None:
            self.job_id = check_job_id(spec.job_id)
        elif self.signature is not None:
            self.job_id = make_id(self.signature)
        else:
            self.job_id = make_job_id(self.name, user)

    @cached_property
    def name(self) -> str:
        """What people call it."""
        if self.spec.name is not None:
            return self.spec.name
        return self.folder.resolve().name

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(entry.stat.st_size for entry in self.entries)

    def prepare_plan(self, *, huge: bool) -> None:
        """Read the large files, which can take its time, to know their objects; those
        that are huge only if that is likely to pay."""
        if not self.contents:
            limit = math.inf if huge else HUGE
            self.contents = digest_files(
                one for one in self.entries if LARGE <= one.stat.st_size < limit
            )

    @cached_property
    def plan(self) -> Plan:
        """How its files are brought together from objects."""
        return plan(self.entries, self.command.script, self.contents)

    def parcel(self, *, from_objects: bool = False) -> Parcel:
        """It, to be packed: with all of its files, or what the objects do not hold."""
        facts = {
            "name": self.name,
            "submitter": self.submitter,
            "script": self.command.canonical[: protocol.SCRIPT_SHOWN],
            "signature": self.signature or "",
            "login": "1" if self.spec.login else "",
        }
        spec = protocol.make_spec(self.token, facts, self.spec.labels)
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n"
            for name, value in self.spec.environment.items()
        )
        last = [("command", f"{exports}{self.command.text}\n"), ("spec", spec)]
        last.insert(0, ("resources", self._resources()))
        entries = self.entries
        if from_objects:
            entries = self.plan.inline
            last.insert(0, ("assembly", self.plan.assembly))
        return Parcel(self.token, entries, self.command.script, last)

    def _resources(self) -> str:
        """The file `resources`; `script` has the directives for the scheduler."""
        lines = list((self.spec.resources or Resources()).lines())
        lines.append(f"default_name={make_job_name(self.name)}")
        script = self.command.script or self._script_in_command()
        if script is not None and "\n" not in script:
            lines.append(f"script={script}")
        return "".join(f"{line}\n" for line in lines)

    def _script_in_command(self) -> str | None:
        """The file of the job that a command such as `sh start.sh 3` runs."""
        try:
            words = shlex.split(self.command.text)
        except ValueError:
            return None
        files = {entry.path for entry in self.entries if entry.is_file}
        found = (word.removeprefix("./") for word in words)
        return next((word for word in found if word in files), None)
