"""Notification on the desktop, or a bell and a line in the terminal."""

from __future__ import annotations

import subprocess
import sys

import click

from tej.cli import output

TIMEOUT = 10.0
"""Time limit in seconds for the program that shows the notification."""

_APPLE_SCRIPT = (
    *("-e", "on run argv"),
    *("-e", "display notification (item 2 of argv) with title (item 1 of argv)"),
    *("-e", "end run"),
)


def notify(title: str, text: str) -> None:
    """Show a notification on the desktop of this machine.

    If no program can show the notification, for example in an SSH session, rings the
    bell of the terminal and prints the notification to stderr.
    """
    # Without `--`, notify-send would read text that begins with a dash as an option.
    words = ["--", title, text]
    commands = (
        ["notify-send", "--app-name=tej", *words],
        ["osascript", *_APPLE_SCRIPT, title, text],
    )
    if not any(map(_succeeds, commands)):
        if sys.stderr.isatty():
            click.echo("\a", nl=False, err=True)
        output.say_line(f"{title}: {text}", err=True)


def _succeeds(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
