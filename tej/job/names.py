"""File names as bytes: locale encodings, Unicode normal forms, names Windows refuses.

On the wire, in signatures and in `Entry.path`, a name is the bytes of the file system
decoded as UTF-8, with surrogate escapes for other bytes.  Python decodes the same bytes
by the locale, which differs where the locale is not UTF-8, such as in Latin-1.
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
    """A name of this machine's file system, in the form sent on the wire."""
    if sys.getfilesystemencoding().lower() == "utf-8":
        return name
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def to_local(name: str) -> str:
    """The name for this machine's file system of a name from the wire."""
    if sys.getfilesystemencoding().lower() == "utf-8":
        return name
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def normalize(name: str) -> str:
    """The same for all names that look alike: composed and decomposed letters."""
    return unicodedata.normalize("NFC", name)


def other_forms(name: str) -> list[str]:
    """Other spellings of a name that look the same; none for ASCII."""
    if name.isascii():
        return []
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    return [form for form in dict.fromkeys(forms) if form != name]


def is_allowed_on_windows(part: str) -> bool:
    """Whether Windows can store a file under this name: one part of a path."""
    return not (
        part.endswith((".", " "))
        or any(char < " " or char in '<>:"/\\|?*' for char in part)
        or _RESERVED.match(part.partition(".")[0].rstrip(" "))
    )


def shorten_path(path: object) -> str:
    """A path for a message: without the middle, if it is very long."""
    text = str(path)
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


def printable(name: object) -> str:
    """A name for a message: control characters and invalid bytes are escaped."""
    return "".join(char if char.isprintable() else _escape(char) for char in str(name))


def _escape(char: str) -> str:
    data = char.encode("utf-8", "surrogatepass")
    if "\udc80" <= char <= "\udcff":
        data = char.encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in data)
