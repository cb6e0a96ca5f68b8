"""`tej config`: print the settings in effect, and the source of each setting."""

from __future__ import annotations

import json
from typing import Any

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import json_option
from tej.cli.profile import profile_option
from tej.config.profile import Setting
from tej.destination import Destination
from tej.queue.default_queue import DEFAULT_TEJ_DIR


@make_command("config", example="tej config -p lab")
@profile_option
@json_option
def command(profile_name: str | None, as_json: bool) -> None:
    """Print the settings in effect, and the source of each setting.

    The sources are the environment, the project's file tej.toml, and your own file
    ~/.config/tej/config.toml.
    No server is contacted.
    """
    from tej import config

    files = config.load()
    profile = files.resolve(profile_name)
    settings = {
        key: without_password(key, one) for key, one in profile.settings.items()
    }
    settings.setdefault("queue", Setting(DEFAULT_TEJ_DIR, "default"))
    if as_json:
        found = {
            key: {"value": one.value, "source": one.source}
            for key, one in sorted(settings.items())
        }
        document: dict[str, Any] = {
            "profile": profile.name and profile.name.value,
            "settings": found,
            "profiles": sorted(files.profiles),
            "files": [*map(str, files.files)],
        }
        # JSON has no type for a time in a TOML file, so the time is printed as text.
        output.print_json(json.loads(json.dumps(document, default=str)))
        return
    if profile.name is not None:
        output.say_line(f'profile = "{profile.name.value}"  # {profile.name.source}')
    for key, one in settings.items():
        output.say_line(f"{key} = {as_toml(one.value)}  # {one.source}")
    others = sorted(set(files.profiles) - {profile.name and profile.name.value})
    if others:
        output.say_line(f"Other profiles: {', '.join(others)}", err=True)
    if not files.files:
        output.say(
            f"There is no file {files.user_file}, and no tej.toml in this directory or "
            "above it; `tej init` creates one",
            err=True,
        )


def without_password(key: str, setting: Setting) -> Setting:
    """Return the setting; if the setting is a destination, without its password."""
    if key != "destination":
        return setting
    destination = Destination.parse(setting.value)
    if destination.password is None:
        return setting
    return Setting(str(destination), setting.source)


def as_toml(value: object) -> str:
    """Return a setting in the syntax of TOML."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False, default=str)
