"""Shell quoting of values that replace fields of a command or script, such as `{SEED}`.

The quoting depends on the position of the field, which may be a plain word, part of a
quoted string, or text of a here-document.  For example, in `'{SEED}'` the value is
already in a quoted string, and quotes around the value would end this string.  To find
the position, `ShellContext` parses the script up to the field.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tej.errors import InvalidJobDirectory

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]*\Z")
_HEREDOC = re.compile(r"<<(-?)[ \t]*(\\?['\"]?)([A-Za-z0-9_.+-]+)['\"]?")
_CASE = re.compile(r"case\s")


class CannotQuote(InvalidJobDirectory):
    """A value with special characters cannot be quoted at the position of its field."""


class RawText(str):
    """A value that replaces its field without quoting."""

    __slots__ = ()


FieldValue = str | Sequence[str] | None
"""Value of a field: a string that is quoted as one word, a list of such strings,
`RawText`, or None.

If the value is None, the field stays in the script as it is.
"""


def fill_shell_fields(
    script: str, field: re.Pattern[str], value: Callable[[re.Match[str]], FieldValue]
) -> str:
    """Return a shell script with each match of `field` replaced by its quoted value.

    Raises CannotQuote if a value cannot be quoted at the position of its field.
    """
    context = ShellContext(script)
    filled = []
    end = 0
    for match in field.finditer(script):
        filled.append(script[end : match.start()])
        context.read(filled[-1])
        end = match.end()
        found = value(match)
        if found is None or isinstance(found, RawText):
            filled.append(match[0] if found is None else found)
            context.read(filled[-1])
            continue
        words = [found] if isinstance(found, str) else found
        try:
            filled.append(" ".join(map(context.quote, words)))
        except CannotQuote as error:
            raise CannotQuote(
                f"{match[0]} has the value {found!r}, which cannot be quoted for the "
                f"shell at this position: {error}"
            ) from None
    return "".join([*filled, script[end:]])


@dataclass(frozen=True)
class Heredoc:
    """A here-document: its delimiter, and how the shell reads its lines."""

    delimiter: str
    is_quoted: bool
    """Whether the delimiter is quoted, so that the shell expands nothing."""
    is_indented: bool
    """Whether the operator is `<<-`, which ignores tabs at the beginning of lines."""

    def is_end(self, line: str) -> bool:
        """Return whether the line ends the here-document."""
        return (line.lstrip("\t") if self.is_indented else line) == self.delimiter


class ShellContext:
    """Parses a script piece by piece, and quotes values for the current position."""

    def __init__(self, script: str) -> None:
        self._script = script
        # Stack of open contexts: "" for plain text, "#" for a comment, "((" for
        # arithmetic, or a quote mark.
        self._contexts = [""]
        self._heredocs: list[Heredoc] = []
        """Here-documents that start in the current line of the script."""
        self._body: Heredoc | None = None
        self._line = ""
        """The current line of a here-document."""
        self._word_starts = True
        self._unclear = ""
        """Why the position in the script can no longer be determined; "" if it is
        known."""

    def read(self, text: str) -> None:
        """Parse the next piece of the script."""
        at = 0
        while at < len(text):
            if self._body is not None:
                at = self._read_body(text, at)
            else:
                at = self._read_code(text, at)

    def quote(self, value: str) -> str:
        """Return the value, quoted for the current position.

        Raises CannotQuote if the value cannot be quoted at this position.
        """
        self._word_starts = False
        if self._body is not None:
            return self._quote_in_body(value)
        inner = self._contexts[-1]
        if _SAFE.match(value):
            return value or ("" if inner in ("'", '"', "#") else "''")
        if inner == "#":
            raise CannotQuote("it is in a comment")
        if self._unclear:
            raise CannotQuote(self._unclear)
        if "`" in self._contexts and (
            re.search(r"[\\`'\"]", value) or (inner == '"' and "$" in value)
        ):
            # In backquotes, the shell removes backslashes before it reads quotes, so
            # that a backslash or a quote in the value would change its meaning.
            raise CannotQuote("use $(...) in place of `...`")
        if inner == "'":
            return value.replace("'", "'\"'\"'")
        if inner == '"':
            return re.sub(r'([\\$`"])', r"\\\1", value)
        return shlex.quote(value)

    def _quote_in_body(self, value: str) -> str:
        assert self._body is not None
        if "\n" in value:
            raise CannotQuote("a value in a here-document cannot have several lines")
        self._line += value
        if self._body.is_end(self._line):
            raise CannotQuote("the value would end the here-document")
        return value if self._body.is_quoted else re.sub(r"([\\$`])", r"\\\1", value)

    def _read_body(self, text: str, at: int) -> int:
        assert self._body is not None
        end = text.find("\n", at)
        if end < 0:
            self._line += text[at:]
            return len(text)
        line, self._line = self._line + text[at:end], ""
        if self._body.is_end(line):
            self._next_body()
        return end + 1

    def _open_heredoc(self, match: re.Match[str]) -> None:
        heredoc = Heredoc(match[3], bool(match[2]), bool(match[1]))
        if any(map(heredoc.is_end, self._script.splitlines())):
            self._heredocs.append(heredoc)
        else:
            self._unclear = f"no line ends the here-document {match[0]}"

    def _next_body(self) -> None:
        self._body = self._heredocs.pop(0) if self._heredocs else None
        self._word_starts = True

    def _read_code(self, text: str, at: int) -> int:
        """Parse at least one character, and return the position after it."""
        here, inner = text[at], self._contexts[-1]
        starts, self._word_starts = self._word_starts, here in " \t\n;&|()"
        is_code = starts and inner in ("", "`", "((")
        if is_code and len(self._contexts) > 1 and _CASE.match(text, at):
            self._unclear = "it follows a `case` in $(...)"
        if inner == "'":
            if here == "'":
                self._contexts.pop()
            return at + 1
        if inner == "#":
            if here != "\n":
                return at + 1
            self._contexts.pop()
        elif here == "\\":
            return at + 2
        if here == "`":
            self._toggle("`")
        elif here == '"':
            self._toggle('"')
        elif text.startswith("$((", at):
            # `$((` opens two brackets, and each of them is closed by its own `)`.
            self._contexts += ["((", "(("]
            return at + 3
        elif text.startswith("$(", at):
            self._contexts.append("")
            self._word_starts = True
            return at + 2
        elif inner != '"':
            return self._read_plain(text, at, starts)
        return at + 1

    def _toggle(self, quote: str) -> None:
        if self._contexts[-1] == quote:
            self._contexts.pop()
        else:
            self._contexts.append(quote)

    def _read_plain(self, text: str, at: int, word_starts: bool) -> int:
        here = text[at]
        if here == "'":
            self._contexts.append("'")
        elif here == "(":
            self._contexts.append("")
        elif (
            here == ")" and len(self._contexts) > 1 and self._contexts[-1] in ("", "((")
        ):
            self._contexts.pop()
        elif here == "#" and word_starts:
            self._contexts.append("#")
        elif here == "\n" and self._heredocs:
            self._next_body()
        elif "((" not in self._contexts and (match := _HEREDOC.match(text, at)):
            # In arithmetic, `<<` is the shift operator.
            self._open_heredoc(match)
            return match.end()
        return at + 1
