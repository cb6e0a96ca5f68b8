"""`tej config`: print the settings in effect, and the source of each setting."""

from __future__ import annotations

import json
from typing import Any

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import json_option
from tej.cli.profile import profile_option
from tej.queue.connection import DEFAULT_TEJ_DIR


@make_command("config", example="tej config -p lab")
@profile_option
@json_option
def command(profile_name: str | None, as_json: bool) -> None:
    """Print the settings in effect, and the source of each setting.

    The sources are the environment, the project's file tej.toml, and the user's file.
    No server is contacted.
    """
    from tej import config

    files = config.load()
    profile = files.resolve(profile_name)
    settings = dict(profile.settings)
    settings.setdefault("queue", config.Setting(DEFAULT_TEJ_DIR, "default"))
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
        # A time in a file has no JSON form of its own.
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


def as_toml(value: object) -> str:
    """Return a setting in the syntax of TOML."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False, default=str)
