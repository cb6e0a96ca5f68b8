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
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is not None:
        group = context.find_root().command
        click.echo(kind(group, {}, "tej", "_TEJ_COMPLETE").source())


ALL = [completion]
