"""Configuration files: find the user's and the project's file, and read them."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tej.config.keys import KEYS, check_keys
from tej.config.profile import Config, Setting
from tej.destination import expand_home
from tej.errors import Error, InvalidConfiguration
from tej.job.ignore import PROJECT_FILE

ROOT = 0

logger = logging.getLogger("tej")


def load(directory: Path | None = None) -> Config:
    """Read the user's file and the project's file, if they exist.

    `directory` is the directory in which the search for the project's file starts; the
    default is the current directory.  Raises InvalidConfiguration if a file cannot be
    read, or has an unknown key or an invalid value.
    """
    user = user_file()
    project = find_project_file(directory)
    files = [path for path in (user, project) if path is not None and path.is_file()]
    default: Setting | None = None
    profiles: dict[str, dict[str, Setting]] = {}
    for path in files:
        content = _read(path)
        if "default" in content:
            default = Setting(content.pop("default"), str(path))
        for name, table in content.get("profile", {}).items():
            settings = _read_profile(path, name, table, is_project=path == project)
            profiles.setdefault(name, {}).update(settings)
    return Config(user, tuple(files), default, profiles)


def user_file() -> Path:
    """Return the path of the user's configuration file, which need not exist."""
    if os.name == "nt" and os.environ.get("APPDATA"):
        return Path(os.environ["APPDATA"], "tej", "config.toml")
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return expand_home(base) / "tej" / "config.toml"


def find_project_file(directory: Path | None = None) -> Path | None:
    """Return the nearest `tej.toml` in a directory or above it, or None.

    A file that belongs to another user is ignored with a warning, because it could
    direct jobs and files to a server of that user.
    """
    try:
        start = (directory or Path.cwd()).resolve()
    except OSError:
        # The current directory was removed.
        return None
    for folder in (start, *start.parents):
        path = folder / PROJECT_FILE
        try:
            if not path.is_file():
                continue
            owner = path.stat().st_uid
        except OSError:
            continue
        if sys.platform != "win32" and owner not in (ROOT, os.getuid()):
            logger.warning("Ignoring %s, which belongs to another user", path)
            return None
        return path
    return None


def add_profile(path: Path, name: str, section: str) -> None:
    """Append a profile to a file, which is created if it does not exist.

    `section` is the text of the table `[profile.NAME]`.  If the file has no default
    profile, the new profile becomes the default.  Raises InvalidConfiguration if the
    file has this profile, or if the profile is invalid; the file is then unchanged.
    """
    path = path.resolve()
    before = path.read_text("utf-8-sig") if path.exists() else ""
    content = _parse(path, before)
    if name in content.get("profile", {}):
        raise InvalidConfiguration(
            f"{path} has a profile '{name}' already: edit it there, or choose another "
            "name"
        )
    if "default" not in content:
        import json

        # Write the key at the beginning, because in TOML a key after a table belongs
        # to the table.
        before = f"default = {json.dumps(name, ensure_ascii=False)}\n{before}"
    text = f"{before.rstrip()}\n\n{section}"
    table = _parse(path, text)["profile"][name]
    _read_profile(path, name, table, is_project=path != user_file().resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    # Replace the file atomically, so that a full disk does not leave half of the file.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(path, path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"{path} cannot be read: {error}") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    # Most commands find no configuration file, so the TOML module is imported only
    # here. Python 3.10 has no tomllib; the package tomli has the same functions.
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        content: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise InvalidConfiguration(f"{path} is not valid TOML: {error}") from error
    check_keys(path, "", content, ("default", "profile"))
    if not isinstance(content.get("default", ""), str):
        raise InvalidConfiguration(
            f"{path}: 'default' must be the name of a profile in quotes"
        )
    profiles = content.get("profile", {})
    if not isinstance(profiles, dict):
        raise InvalidConfiguration(f"{path}: write a profile as [profile.NAME]")
    for name, table in profiles.items():
        if not isinstance(table, dict):
            raise InvalidConfiguration(
                f"{path}: 'profile.{name}' is not a table; write a profile as "
                "[profile.NAME]"
            )
    return content


def _read_profile(
    path: Path, name: str, table: Mapping[str, Any], *, is_project: bool
) -> dict[str, Setting]:
    """Return the settings in one table `[profile.NAME]` of a file."""
    section = f"profile.{name}"
    check_keys(path, section, table, KEYS)
    if is_project and "trust_queue" in table:
        raise InvalidConfiguration(
            f"{path}: 'trust_queue' is accepted only in the user's file {user_file()}, "
            "because a project may come from other people"
        )
    settings: dict[str, Setting] = {}
    for key, value in table.items():
        try:
            for full, one in KEYS[key](key, value):
                settings[full] = Setting(_beside(path, full, one), str(path))
        except (TypeError, ValueError, Error) as error:
            raise InvalidConfiguration(f"{path}: [{section}]: {error}") from error
    return settings


def _beside(path: Path, key: str, value: Any) -> Any:  # noqa: ANN401 (any setting)
    """Return the value; a relative path of a runtime is joined to the file's folder."""
    if key == "runtime" and re.match(r"\.{1,2}/", value):
        return str(path.parent / value)
    return value
