"""File names: encodings, Unicode normal forms, and names that Windows does not allow.

On the wire, in signatures and in `Entry.path`, a name consists of the file system's
bytes, decoded as UTF-8 with surrogate escapes for bytes that are not UTF-8.  Python
decodes file names by the encoding of the locale, which may be Latin-1, for example.
Names are therefore converted by `from_local` and `to_local`.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata

_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\Z", re.I
)


def from_local(name: str) -> str:
    """Convert a name of this machine's file system to the form sent on the wire."""
    if sys.getfilesystemencoding().lower() == "utf-8":
        return name
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def to_local(name: str) -> str:
    """Convert a file name that the server sent to the encoding of this machine."""
    if sys.getfilesystemencoding().lower() == "utf-8":
        return name
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def normalize(name: str) -> str:
    """Return the Unicode form NFC of a name.

    Names that differ only in composed and decomposed letters have the same NFC form.
    """
    return unicodedata.normalize("NFC", name)


def fold_case(name: str) -> str:
    """Return the case-folded form of a name.

    A file system that ignores case treats two names as equal if their forms are equal.
    """
    return normalize(unicodedata.normalize("NFD", name).casefold())


def other_forms(name: str) -> list[str]:
    """Return the Unicode forms NFC and NFD of a name, if they differ from the name."""
    if name.isascii():
        return []
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    return [form for form in dict.fromkeys(forms) if form != name]


def is_allowed_on_windows(part: str) -> bool:
    """Return whether Windows allows `part` as a file name; `part` has no slashes."""
    return not (
        part.endswith((".", " "))
        or any(char < " " or char in '<>:"/\\|?*' for char in part)
        or _RESERVED.match(part.partition(".")[0].rstrip(" "))
    )


def shorten_path(path: object) -> str:
    """Return a path as text for a message, without the middle of a very long path."""
    text = str(path)
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


def printable(name: object) -> str:
    """Return a name for a message; escapes control characters and invalid bytes."""
    return "".join(char if char.isprintable() else _escape(char) for char in str(name))


def _escape(char: str) -> str:
    data = char.encode("utf-8", "surrogatepass")
    if "\udc80" <= char <= "\udcff":
        data = char.encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in data)
