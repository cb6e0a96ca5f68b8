"""Fixtures of the tests of the project itself."""

import pytest

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash"]}


@pytest.fixture(params=SHELLS)
def shell(request, require):
    """Return the command that starts the shell."""
    command = SHELLS[request.param]
    require(command[0])
    return command
