"""Job ids: valid characters, new ids, short ids, and the ids of archived attempts."""

from __future__ import annotations

import string
from collections.abc import Iterable

from tej.errors import InvalidJobId

JOB_ID_CHARS = frozenset(string.ascii_letters + string.digits + "_-+=@%:.,")
MAX_JOB_ID = 200
ID_PREFIX = "sig-"
ID_DIGITS = 20
"""Number of hex digits in an id that is made from a signature."""
SHORTEST_ID = len(ID_PREFIX) + 8
"""Minimum length of a shortened id."""
_NO_STRING = "A job id is a string, not {!r}"


def check_job_id(job_id: str) -> str:
    """Return the id if it is valid, so that any server accepts it as a directory name.

    Raises InvalidJobId if the id is empty, is longer than 200 characters, begins with a
    dash or a dot, or has characters other than ASCII letters, digits and `_-+=@%:.,`.
    """
    if not isinstance(job_id, str):
        raise InvalidJobId(_NO_STRING.format(job_id))
    if not job_id:
        raise InvalidJobId("Invalid job identifier '': it is empty")
    if len(job_id) > MAX_JOB_ID:
        raise InvalidJobId(
            f"Invalid job identifier '{job_id[:20]}...': it has {len(job_id)} "
            f"characters, {MAX_JOB_ID} are allowed"
        )
    if job_id[0] in "-.":
        raise InvalidJobId(
            f"Invalid job identifier {job_id!r}: it must not begin with '{job_id[0]}'"
        )
    for character in job_id:
        if character not in JOB_ID_CHARS:
            raise InvalidJobId(
                f"Invalid job identifier {job_id!r}: {character!r} is not a letter, a "
                "digit or one of _-+=@%:.,"
            )
    return job_id


def check_job_reference(job_id: str) -> str:
    """Return `job_id` if it is a job id, or ID#N, the id of an archived attempt.

    Raises InvalidJobId if the text is neither a job id nor of the form ID#N.
    """
    if not isinstance(job_id, str):
        raise InvalidJobId(_NO_STRING.format(job_id))
    base, hash_, number = job_id.partition("#")
    if hash_ and not (number.isascii() and number.isdigit()):
        raise InvalidJobId(f"Invalid attempt {job_id!r}: write an attempt as ID#1")
    check_job_id(base)
    return job_id


def make_unique_name() -> str:
    """Return ten random lower-case letters and digits."""
    import random

    rng = random.SystemRandom()
    return "".join(rng.choices(string.ascii_lowercase + string.digits, k=10))


def make_job_id(directory_name: str, user: str) -> str:
    """Return a new id, `<directory>_<user>_<unique>`.

    Characters that are not allowed in an id are replaced by `_`.
    """
    words = "".join(c if c in JOB_ID_CHARS else "_" for c in f"{directory_name}_{user}")
    words = words.lstrip("-.")[: MAX_JOB_ID - 11]
    return check_job_id(f"{words or 'job'}_{make_unique_name()}")


def shorten_ids(job_ids: Iterable[str]) -> dict[str, str]:
    """Return for each id its shortest prefix that is a prefix of no other id.

    A prefix has at least SHORTEST_ID characters.
    """
    ids = sorted(set(job_ids))
    short = {}
    before = 0
    # strict=False: if there are no ids, the second list is longer.
    for job_id, other in zip(ids, [*ids[1:], ""], strict=False):
        after = _common(job_id, other)
        short[job_id] = job_id[: max(SHORTEST_ID, before + 1, after + 1)]
        before = after
    return short


def _common(one: str, other: str) -> int:
    """Return the length of the longest common prefix of two strings."""
    pairs = zip(one, other, strict=False)
    return next(
        (index for index, (a, b) in enumerate(pairs) if a != b),
        min(len(one), len(other)),
    )
