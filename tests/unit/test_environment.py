"""Environment variables of a job that are refused."""

import pytest

from tej.errors import InvalidJobDirectory
from tej.job.environment import check_environment


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("1A", "", "does not begin with a digit"),
        ("A-B", "", "is not a valid environment variable"),
        ("A\n", "", "is not a valid environment variable"),
        ("TEJ_JOB_ID", "", "is reserved for tej"),
        ("A", 1, "not a value of type int"),
        ("A", "a\0b", "contains a NUL"),
        ("A", "\ud800", "cannot be encoded as UTF-8"),
    ],
)
def test_variable_is_refused(name: str, value: str, why: str) -> None:
    with pytest.raises(InvalidJobDirectory, match=why):
        check_environment({"GOOD_1": "\udcff", name: value})


def test_other_variables_of_tej_are_allowed() -> None:
    check_environment({"_a1": "", "TEJ_USER": "x\n"})
