"""Job ids: which ids are valid, and how new ids are made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tej
from tej.job.job_id import (
    JOB_ID_CHARS,
    check_job_id,
    check_job_reference,
    make_job_id,
)
from tej.wire.requests import command

# Any bytes but NUL, as Python decodes them: bytes that are not UTF-8 are surrogates.
texts = st.binary(max_size=200).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)


@given(st.text(alphabet=sorted(JOB_ID_CHARS), min_size=1, max_size=200))
def test_id_must_not_begin_with_hyphen_or_dot(job_id: str) -> None:
    if job_id[0] in "-.":
        with pytest.raises(tej.InvalidJobId):
            check_job_id(job_id)
    else:
        assert check_job_id(job_id) == job_id


@given(st.text(max_size=250))
def test_valid_id_needs_no_quotes(job_id: str) -> None:
    try:
        check_job_id(job_id)
    except tej.InvalidJobId as error:
        assert "Invalid job identifier" in str(error)  # noqa: PT017
        return
    assert job_id not in ("", ".", "..")
    assert not set("/ \n\t*?[]'\"$`\\~;&|<>(){}") & set(job_id)
    assert not job_id.startswith("-")
    assert command(job_id).strip("'") == job_id


@given(name=texts, user=texts)
def test_made_ids_are_valid_and_unique(name: str, user: str) -> None:
    assert check_job_id(make_job_id(name, user))
    assert make_job_id(name, user) != make_job_id(name, user)


def test_id_that_is_no_string_is_refused() -> None:
    check: Callable[..., str]
    for check in (check_job_id, check_job_reference):
        for wrong in (None, 7, b"a", ["a"]):
            with pytest.raises(tej.InvalidJobId, match="is a string"):
                check(wrong)


def test_attempt_is_an_id_with_a_number() -> None:
    for right in ("job", "job#1", "job#12"):
        assert check_job_reference(right) == right
    for wrong in ("job#", "job#x", "job#1x", "job#-1", "job#²", "#1", "a b#1"):
        with pytest.raises(tej.InvalidJobId):
            check_job_reference(wrong)
