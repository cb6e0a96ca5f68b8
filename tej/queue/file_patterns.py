"""File patterns (globs) of a download, matched as the server's shell expands them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tej.errors import DownloadFailed
from tej.job.file_names import from_local, normalize, other_forms

_CLASSES = {
    "alpha": r"[^\W\d_]",
    "digit": r"[0-9]",
    "alnum": r"[^\W_]",
    # `[:upper:]` and `[:lower:]` match any letter, because the server's locale decides
    # which letters are upper case.
    "upper": r"[^\W\d_]",
    "lower": r"[^\W\d_]",
    "space": r"\s",
    "blank": r"[ \t]",
    "punct": r"[^\w\s]|_",
    "print": r"[^\x00-\x1f\x7f]",
    "graph": r"[^\s\x00-\x1f\x7f]",
    "cntrl": r"[\x00-\x1f\x7f]",
    "xdigit": r"[0-9A-Fa-f]",
}


class OptionalFile(str):
    """A name or pattern to download that need not match a file of the job."""

    __slots__ = ()


class FilePattern:
    """A path in the job's directory, which may contain shell wildcards."""

    def __init__(self, text: str, *, is_optional: bool = False) -> None:
        self.text = text
        self.is_optional = is_optional
        self._forms = [text]
        self._literal = PurePosixPath(normalize(text)).parts
        self._expressions = [*_translate(normalize(text))]
        # Match the pattern also byte by byte, because in a single-byte locale `?`
        # matches one byte of a UTF-8 name.
        self._by_bytes = [*_translate(_bytes_as_text(text))]

    def matched_part(self, name: PurePosixPath) -> PurePosixPath | None:
        """Return `name`, or the directory above `name`, that matches the pattern.

        Returns None if neither `name` nor a directory above it matches the pattern.
        """
        depth = len(self._literal)
        if len(name.parts) < depth:
            return None
        part = PurePosixPath(*name.parts[:depth])
        if depth == 0:
            return part
        text = normalize(str(part))
        if PurePosixPath(text).parts == self._literal:
            return part
        by_bytes = _bytes_as_text(str(part))
        if any(one.fullmatch(text) for one in self._expressions) or any(
            one.fullmatch(by_bytes) for one in self._by_bytes
        ):
            return part
        return None

    def respell(self) -> FilePattern | None:
        """Return the pattern in another Unicode form; None if all forms were tried."""
        for form in other_forms(self.text):
            if form not in self._forms:
                other = FilePattern(form, is_optional=self.is_optional)
                other._forms = [*self._forms, form]
                return other
        return None


def check_name(name: str) -> str:
    """Return the normalized path, relative to the job's directory.

    Raises DownloadFailed if the path is outside the job's directory.
    """
    if not name:
        raise DownloadFailed("'' is not the name of a file")
    path = posixpath.normpath(name)
    if path.startswith(("/", "../")) or path == ".." or "\0" in path:
        raise DownloadFailed(f"'{name}' is outside the job's directory, and is refused")
    return from_local(path)


def _bytes_as_text(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    except UnicodeEncodeError:
        return text


def _translate(pattern: str) -> Iterator[re.Pattern[str]]:
    """Yield one or two regular expressions that are equivalent to a shell pattern.

    A pattern with a backslash has two regular expressions, because the backslash quotes
    the next character in some shells, and is an ordinary character in other shells.
    """
    for quoting in {False, "\\" in pattern}:
        parts = [_translate_part(part, quoting) for part in pattern.split("/")]
        yield re.compile("/".join(parts), re.DOTALL)


def _translate_part(part: str, quoting: bool) -> str:
    # A wildcard does not match the leading dot of a hidden file.
    result = r"(?!\.)" if part[:1] in ("*", "?", "[") else ""
    index = 0
    while index < len(part):
        char = part[index]
        index += 1
        if char == "*":
            result += "[^/]*"
        elif char == "?":
            result += "[^/]"
        elif char == "[" and (bracket := _translate_bracket(part, index)):
            expression, index = bracket
            result += expression
        elif char == "\\" and quoting and index < len(part):
            result += re.escape(part[index])
            index += 1
        else:
            result += re.escape(char)
    return result


def _translate_bracket(part: str, index: int) -> tuple[str, int] | None:
    """Return the regular expression for a bracket expression, and the index after "]".

    `index` is the index of the character after "[".  Returns None if "]" is missing.
    """
    negated = part[index : index + 1] in ("!", "^")
    index += negated
    alternatives: list[str] = []
    first = True
    while index < len(part):
        char = part[index]
        if char == "]" and not first:
            any_of = "|".join(alternatives)
            return (f"(?!{any_of})[^/]" if negated else f"(?:{any_of})"), index + 1
        first = False
        special = re.compile(r"\[([:=.])(.+?)\1\]").match(part, index)
        if special:
            kind, text = special.groups()
            name = _CLASSES.get(text) if kind == ":" else re.escape(text)
            alternatives.append(name or "(?!)")
            index = special.end()
        elif part[index + 1 : index + 2] == "-" and part[index + 2 : index + 3] not in (
            "",
            "]",
        ):
            alternatives.append(_translate_range(char, part[index + 2]))
            index += 3
        else:
            alternatives.append(re.escape(char))
            index += 1
    return None


def _translate_range(low: str, high: str) -> str:
    if low > high:
        return "(?!)"
    expression = f"[{re.escape(low)}-{re.escape(high)}]"
    # Ignore case, because in many locales a range of letters includes both cases.
    if low.isascii() and high.isascii() and low.isalpha() and high.isalpha():
        return f"(?i:{expression})"
    return expression
