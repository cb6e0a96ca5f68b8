"""Escaping of untrusted text, such as ids and messages of a server, for terminals."""

from __future__ import annotations


def escape(text: str, keep: str = "\n\t") -> str:
    """Return `text` with each unprintable character escaped, such as ESC as `\\x1b`.

    The characters in `keep` are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(
        one
        if one.isprintable() or one in keep
        else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def escape_line(text: str) -> str:
    """Return `text` with each unprintable character escaped, newlines included."""
    return escape(text, keep="")
