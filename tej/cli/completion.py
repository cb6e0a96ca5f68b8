"""The command that teaches a shell to complete the others."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete tej's commands and options.

    \b
    In ~/.bashrc:  eval "$(tej completion bash)"
    In ~/.zshrc:   eval "$(tej completion zsh)"
    In ~/.config/fish/config.fish:
                   tej completion fish | source
    """
    from click.shell_completion import FishComplete, ShellComplete, ZshComplete

    class Bash(ShellComplete):
        """click's own runs `bash` to see its version; this one only prints."""

        name = "bash"
        source_template = _BASH

    kinds: dict[str, type[ShellComplete]] = {
        "bash": Bash,
        "zsh": ZshComplete,
        "fish": FishComplete,
    }
    group = context.find_root().command
    click.echo(kinds[shell](group, {}, "tej", "_TEJ_COMPLETE").source())


ALL = [completion]
