"""`tej completion`: completion of commands and options in a shell."""

from __future__ import annotations

import click

from tej.cli.command import command as make_command


@make_command("completion", example='eval "$(tej completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that completes tej's commands and options in a shell.

    \b
    In ~/.bashrc:  eval "$(tej completion bash)"
    In ~/.zshrc:   eval "$(tej completion zsh)"
    In ~/.config/fish/config.fish:
                   tej completion fish | source
    """
    from click.shell_completion import get_completion_class

    from tej.cli import bash_completion

    bash_completion.register()
    kind = get_completion_class(shell)
    if kind is not None:
        group = context.find_root().command
        click.echo(kind(group, {}, "tej", "_TEJ_COMPLETE").source())
