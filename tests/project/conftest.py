"""What the tests of the project as such share."""

import pytest

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash"]}


@pytest.fixture(params=SHELLS)
def shell(request, require):
    """The words that start it."""
    command = SHELLS[request.param]
    require(command[0])
    return command
