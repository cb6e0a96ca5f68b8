"""Profile: the settings in effect, with the source of each setting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tej.config.keys import nearest
from tej.errors import InvalidConfiguration

COMMAND_LINE = "command line"

VARIABLES: Mapping[str, str] = {
    "destination": "TEJ_DESTINATION",
    "queue": "TEJ_QUEUE",
    "runtime": "TEJ_RUNTIME",
    "transport": "TEJ_TRANSPORT",
    "persist": "TEJ_PERSIST",
}
"""The environment variable for each setting that has one, by the key of the setting."""
PROFILE_VARIABLE = "TEJ_PROFILE"

JOB_KEYS = ("environment", "ignore", "on_end", "shared")
"""Keys that describe the job and not the server.

The default profile sets these keys for every destination, so that the id of a job does
not depend on whether the destination is named on the command line."""


class Setting(NamedTuple):
    """A value, and the file, the environment variable or the option that sets it."""

    value: Any
    source: str


class Profile(NamedTuple):
    """The settings in effect, from the profile `name` (None if no profile is used), the
    environment and the command line."""

    name: Setting | None
    settings: Mapping[str, Setting]
    """The settings by key; a key in a table is written `resources.cpus`."""
    files: tuple[str, ...] = ()
    """The configuration files from which the settings were read."""

    def get(self, key: str) -> Any:  # noqa: ANN401 (the type depends on the key)
        """Return the value of a key, or None if the key is not set."""
        setting = self.settings.get(key)
        return None if setting is None else setting.value

    def table(self, name: str) -> dict[str, Any]:
        """Return the keys and values of a table, such as `resources`."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): setting.value
            for key, setting in self.settings.items()
            if key.startswith(prefix)
        }

    def options(self) -> dict[str, Any]:
        """Return keyword arguments of `RemoteQueue` for the settings that are set."""
        names = {"runtime": "setup_runtime"}
        keys = ("queue", "runtime", "transport", "persist", "trust_queue")
        return {
            names.get(key, key): self.get(key)
            for key in keys
            if self.get(key) is not None
        }


class Config(NamedTuple):
    """The merged content of the user's file and the project's file."""

    user_file: Path
    files: tuple[Path, ...] = ()
    """The configuration files that exist."""
    default: Setting | None = None
    """The name of the default profile."""
    profiles: Mapping[str, Mapping[str, Setting]] = MappingProxyType({})

    def find(self, name: Setting) -> Profile:
        """Return a profile; raise InvalidConfiguration if the profile is missing."""
        if name.value not in self.profiles:
            where = " or ".join(map(str, self.files or [self.user_file]))
            hint = nearest(name.value, self.profiles)
            raise InvalidConfiguration(
                f"There is no profile '{name.value}' in {where} "
                f"(`tej init` creates a profile){hint}"
            )
        return Profile(name, self.profiles[name.value])

    def resolve(
        self,
        name: str | None = None,
        given: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Profile:
        """Return the settings in effect.

        `name` and `given` are the profile and the settings on the command line.  A
        setting is taken from the command line, else from the environment, else from the
        profile.  The values of a profile named on the command line take precedence over
        the environment.  If the command line has a destination but no profile, only the
        JOB_KEYS of the default profile are used, because the queue and the resources of
        the default profile belong to another server.
        """
        environ = os.environ if environ is None else environ
        explicit = {
            key: Setting(value, COMMAND_LINE) for key, value in (given or {}).items()
        }
        variables = {
            key: Setting(environ[variable], variable)
            for key, variable in VARIABLES.items()
            if environ.get(variable)
        }
        chosen = None
        if name is not None:
            chosen = Setting(name, COMMAND_LINE)
        elif environ.get(PROFILE_VARIABLE):
            chosen = Setting(environ[PROFILE_VARIABLE], PROFILE_VARIABLE)
        elif "destination" not in explicit and "destination" not in variables:
            chosen = self.default
        stored = (
            self._default_job_settings()
            if chosen is None
            else self.find(chosen).settings
        )
        layers = (
            [variables, stored, explicit] if name else [stored, variables, explicit]
        )
        merged: dict[str, Setting] = {}
        for layer in layers:
            merged.update(layer)
        sources = tuple(map(str, self.files))
        return Profile(chosen, _without_misplaced_trust(merged), sources)

    def _default_job_settings(self) -> Mapping[str, Setting]:
        """Return the settings of the default profile that describe the job."""
        if self.default is None:
            return {}
        settings = self.profiles.get(self.default.value, {})
        return {
            key: setting
            for key, setting in settings.items()
            if key.partition(".")[0] in JOB_KEYS
        }


def _without_misplaced_trust(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the settings, without `trust_queue` if it was set for another queue.

    `trust_queue` in the user's file applies only to the destination and the queue in
    the user's file.  If `trust_queue` applied to every queue, a project's file or an
    environment variable could direct tej to an untrusted queue, whose scripts would
    then be executed.
    """
    trust = settings.get("trust_queue")
    if trust is None or trust.source == COMMAND_LINE:
        return dict(settings)
    place = [settings[key] for key in ("destination", "queue") if key in settings]
    if all(one.source == trust.source for one in place):
        return dict(settings)
    return {key: value for key, value in settings.items() if key != "trust_queue"}
