"""Shell quoting of values that are inserted into scripts.

The quoting depends on the position of the value, which may be a plain word, part of a
quoted string, or text of a here-document.  For example, in `'{{name}}'` the value is
already in a quoted string, and quotes around the value would end this string.  To find
the position, `ShellContext` parses the script up to the value.
"""

from __future__ import annotations

import re
import shlex

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]*\Z")
_HEREDOC = re.compile(r"<<-?[ \t]*(\\?)(['\"]?)([A-Za-z0-9_.+-]+)\2")
_SHELL = re.compile(r"#!\s*(\S*/env\s+(-S\s+)?)?\S*sh\b")


class CannotQuote(ValueError):
    """A value with special characters cannot be quoted at this position."""


def is_shell(script: str) -> bool:
    """Return whether the first line of a script is for a shell or has no `#!`."""
    return not script.startswith("#!") or bool(_SHELL.match(script))


class ShellContext:
    """Parses a script piece by piece, and quotes values for the current position."""

    def __init__(self, script: str) -> None:
        self._script = script
        # Stack of open contexts: "" for plain text, "#" for a comment, or the quote.
        self._open = [""]
        self._heredocs: list[tuple[str, bool]] = []
        """Here-documents that start in the current line of the script.

        Each entry is the delimiter, and whether the delimiter is quoted.
        """
        self._body: tuple[str, bool] | None = None
        self._line = ""
        """The current line of a here-document."""
        self._word_starts = True

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
        if _SAFE.match(value) and (value or self._open[-1]):
            return value
        if self._open[-1] == "'":
            return value.replace("'", "'\\''")
        if self._open[-1] == '"':
            return re.sub(r'([\\$`"])', r"\\\1", value)
        if "`" in self._open:
            raise CannotQuote("use $(...) in place of `...`")
        if self._open[-1] == "#":
            raise CannotQuote("it is in a comment")
        return shlex.quote(value)

    def _quote_in_body(self, value: str) -> str:
        assert self._body is not None
        if "\n" in value:
            raise CannotQuote("a here-document takes one line only")
        return value if self._body[1] else re.sub(r"([\\$`])", r"\\\1", value)

    def _read_body(self, text: str, at: int) -> int:
        assert self._body is not None
        end = text.find("\n", at)
        if end < 0:
            self._line += text[at:]
            return len(text)
        line, self._line = self._line + text[at:end], ""
        if line.lstrip("\t") == self._body[0]:
            self._next_body()
        return end + 1

    def _has_line(self, delimiter: str) -> bool:
        """Return whether a line of the script consists of the delimiter.

        If no line consists of the delimiter, `<<` is the shift operator and does not
        start a here-document.
        """
        return any(line.strip("\t") == delimiter for line in self._script.splitlines())

    def _next_body(self) -> None:
        self._body = self._heredocs.pop(0) if self._heredocs else None
        self._word_starts = True

    def _read_code(self, text: str, at: int) -> int:
        """Parse at least one character, and return the position after it."""
        here, inner = text[at], self._open[-1]
        starts, self._word_starts = self._word_starts, here in " \t\n;&|()"
        if inner == "'":
            if here == "'":
                self._open.pop()
            return at + 1
        if inner == "#":
            if here != "\n":
                return at + 1
            self._open.pop()
        elif here == "\\":
            return at + 2
        if here == "`":
            self._toggle("`")
        elif here == '"':
            self._toggle('"')
        elif text.startswith("$(", at):
            self._open.append("")
            self._word_starts = True
            return at + 2
        elif inner != '"':
            return self._read_plain(text, at, starts)
        return at + 1

    def _toggle(self, quote: str) -> None:
        if self._open[-1] == quote:
            self._open.pop()
        else:
            self._open.append(quote)

    def _read_plain(self, text: str, at: int, word_starts: bool) -> int:
        here = text[at]
        if here == "'":
            self._open.append("'")
        elif here == "(":
            self._open.append("")
        elif here == ")" and len(self._open) > 1 and self._open[-1] == "":
            self._open.pop()
        elif here == "#" and word_starts:
            self._open.append("#")
        elif here == "\n" and self._heredocs:
            self._next_body()
        elif (match := _HEREDOC.match(text, at)) and self._has_line(match[3]):
            self._heredocs.append((match[3], bool(match[1] or match[2])))
            return match.end()
        return at + 1
