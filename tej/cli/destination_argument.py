"""Destination argument: decide whether a command's first argument is a destination.

The destination may be left out if a profile or TEJ_DESTINATION sets it.  The words that
follow the name of a command, except for options, are therefore split by the rules in
this module.  If the first word is ambiguous, the error message shows how to write a
destination, and how to write the other argument.  docs/configuration.md describes the
rules for users.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import click

MISSING = (
    "Missing argument 'DESTINATION': [user@]host[:port] or local:, or set "
    "TEJ_DESTINATION, or create a profile with `tej init`"
)


class Context(NamedTuple):
    """The conditions that decide whether a command's first word is the destination."""

    has_default: bool
    """Whether a profile or TEJ_DESTINATION sets the destination."""
    profiles: Collection[str] = ()
    """Names of the profiles; a profile's name can be used as the destination."""
    selects_jobs: bool = False
    """Whether an option, such as --id or --failed, selects the jobs."""

    def is_known_host(self, word: str) -> bool:
        """Return whether a word is a profile or an alias in the ssh configuration."""
        return word in self.profiles or is_ssh_alias(word)

    def ambiguous(self, word: str, other: str, way: str) -> click.UsageError:
        """Return the error for a word that could be the destination or `other`.

        `other` describes what else the word could be, such as "a job".  `way` shows the
        user how to write `other` unambiguously.
        """
        host = f"-p {word}" if word in self.profiles else f"ssh://{word}"
        return click.UsageError(
            f"'{word}' could be the destination or {other}: write {host} for the "
            f"destination, or {way} for {other}"
        )


def is_ssh_alias(word: str) -> bool:
    """Return whether `word` is a host in the ssh configuration, without wildcards."""
    # Few commands need the ssh configuration, so the module is imported only here.
    from tej.transport.ssh_config import host_aliases

    return word in host_aliases()


def looks_like_destination(word: str) -> bool:
    """Return whether a word has the form of a destination, such as user@host.

    Returns False for `@` and `@2`, which are jobs; for a bare host name, which could
    also be a job or a file; and for `./a@b`, which is always a file.
    """
    if word.startswith("./"):
        return False
    return word.find("@") > 0 or word.startswith("ssh://") or word == "local:"


def is_path(word: str) -> bool:
    """Return whether a word is a path, and therefore neither a host nor a job."""
    if "://" in word or looks_like_destination(word):
        return False
    return word in (".", "..") or "/" in word


def explain_destination(words: tuple[str, ...], rest: list[str]) -> str:
    """Return why the first word was read as the destination, for a connection error.

    `rest` are the words that are not the destination.  Returns "" if no word is the
    destination, or if the word is clearly a destination: it has the form of one, or
    the ssh configuration contains it.
    """
    if len(rest) == len(words):
        return ""
    word = words[0]
    if "." in word or looks_like_destination(word) or is_ssh_alias(word):
        return ""
    if len(words) > 1:
        return f"'{word}' was read as the destination, because it is the first argument"
    return (
        f"'{word}' was read as the destination, because neither a profile nor "
        "TEJ_DESTINATION sets one"
    )


def split_words(
    words: tuple[str, ...], arguments: tuple[str, ...], context: Context
) -> tuple[str | None, list[str]]:
    """Return the destination, or None if it was left out, and the other words.

    `arguments` are the names of the other words.  A name without brackets is required,
    `[directory]` is optional, and `[jobs...]` and `[files...]` accept any number of
    words.  Raises click.UsageError if the destination or an argument is missing, if
    there are too many words, or if the first word could be the destination or something
    else.
    """
    kind = arguments[-1] if arguments else ""
    if kind == "[directory]":
        is_first = _is_first_before_directory(words, context)
    elif kind == "[jobs...]":
        is_first = _is_first_before_jobs(words, context)
    elif kind == "[files...]":
        is_first = _is_first_before_files(words, context)
    else:
        is_first = len(words) > len(arguments)
    destination = words[0] if is_first else None
    if destination is not None and is_path(destination):
        raise click.UsageError(
            f"'{destination}' is a path and not a destination: the destination is the "
            "first argument, before directories, jobs and files"
        )
    rest = list(words[1:] if is_first else words)
    required = [name for name in arguments if not name.startswith("[")]
    if destination is None and not context.has_default:
        if required and len(words) == len(required):
            raise click.UsageError(f"Missing argument '{required[-1].upper()}'")
        raise click.UsageError(MISSING)
    if len(rest) < len(required):
        raise click.UsageError(f"Missing argument '{required[len(rest)].upper()}'")
    if not kind.endswith("...]") and len(rest) > len(arguments):
        message = f"Unexpected argument '{rest[len(arguments)]}'"
        if kind == "[directory]":
            message += ": quote a name with spaces, and write a command after `--`"
        raise click.UsageError(message)
    return destination, rest


def _is_first_before_directory(words: tuple[str, ...], context: Context) -> bool:
    """Return whether the first word is a destination, and not a directory."""
    if len(words) != 1:
        return len(words) > 1
    (word,) = words
    is_directory = Path(word).is_dir()
    if not is_directory:
        # A mistyped directory is reported as a missing directory, and not as a host.
        return (
            looks_like_destination(word)
            or not context.has_default
            or context.is_known_host(word)
        )
    if context.is_known_host(word) or looks_like_destination(word):
        raise context.ambiguous(word, "the directory", f"DESTINATION {word}")
    if not context.has_default:
        raise click.UsageError(f"{MISSING}; '{word}' is a directory")
    return False


def _is_first_before_jobs(words: tuple[str, ...], context: Context) -> bool:
    """Return whether the first word is a destination, and not a job."""
    if context.selects_jobs:
        job = words[0] if words and words[0].startswith("@") else "".join(words[1:2])
        if job:
            raise click.UsageError(
                f"'{job}' cannot be combined with an option that selects jobs, "
                "such as --id, --failed or --all"
            )
        return bool(words)
    if not words or words[0].startswith("@"):
        return False
    if not context.has_default or looks_like_destination(words[0]):
        return True
    if context.is_known_host(words[0]):
        raise context.ambiguous(words[0], "a job", f"--id {words[0]}")
    return False


def _is_first_before_files(words: tuple[str, ...], context: Context) -> bool:
    """Return whether the first word is a destination, and not a job or a file."""
    if not words or words[0].startswith("@"):
        return False
    if not context.has_default or looks_like_destination(words[0]):
        return True
    if context.is_known_host(words[0]):
        if context.selects_jobs:
            raise context.ambiguous(words[0], "a file", f"./{words[0]}")
        raise context.ambiguous(words[0], "a job", f"--id {words[0]}")
    return False
