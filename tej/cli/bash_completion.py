"""bash completion: handle words that contain `@`, `:` or `=`, and directories.

bash splits the command line at `@`, `:` and `=` before it calls the completion of a
command, so `local:` and `user@host` arrive as several words.  The script in this module
therefore passes the whole line to tej.  Unlike click's script for bash, it also keeps
the other completions if one completion is a directory.
"""

from __future__ import annotations

import os

from click.shell_completion import (
    BashComplete,
    add_completion_class,
    split_arg_string,
)

_SOURCE = """\
%(complete_func)s() {
    local IFS=$'\\n' line word begin response completion type value
    line=${COMP_LINE:0:COMP_POINT}
    word=${line##*[[:space:]]}
    # bash replaces only the last part of the word, which is $2.
    begin=${word%%"$2"}
    response=$(env TEJ_COMP_LINE="$line" COMP_WORDS= COMP_CWORD=0 \\
        %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    for completion in $response; do
        IFS=',' read -r type value <<<"$completion"
        case $type in
            dir) compopt -o plusdirs ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$begin"}") ;;
        esac
    done
    return 0
}

complete -F %(complete_func)s %(prog_name)s
"""


class WholeLine(BashComplete):
    """click's completion for bash, but for the whole line in TEJ_COMP_LINE."""

    source_template = _SOURCE

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("TEJ_COMP_LINE")
        if line is None:
            # The shell has loaded the completion script of an earlier version of tej.
            return super().get_completion_args()
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() or not words else words.pop()
        return words[1:], incomplete


def register() -> None:
    """Register the completion of this module as click's completion for bash."""
    add_completion_class(WholeLine)
