"""Temporary users of this machine, for login shells and passwords; needs root.

with Users() as users:
    user = users.add("/usr/bin/fish")
    # user.name, user.home; Sshd(users.folder / "sshd") can let them in
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

NOISE = {
    ".bashrc": 'echo "Welcome to the cluster"; echo "Quota: 99%" >&2\n',
    ".zshenv": 'echo "Welcome to the cluster"; echo "Quota: 99%" >&2\n',
    ".cshrc": 'echo "Welcome to the cluster"; sh -c "echo Quota: 99% >&2"\n',
    ".config/fish/config.fish": 'echo "Welcome to the cluster"; echo Quota >&2\n',
    ".mkshrc": 'echo "Welcome to the cluster"\n',
    ".profile": 'echo "Welcome to the cluster"\n',
    ".ssh/rc": 'echo "Welcome to the cluster"; echo "Quota: 99%" >&2\n',
}
"""Start-up files of all login shells, and `.ssh/rc`, which sshd runs."""


def make_noisy(home: Path) -> None:
    """Write start-up files that print text to a home directory (`Sshd(home=...)`)."""
    for name, text in NOISE.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@dataclass(frozen=True)
class User:
    """A temporary user."""

    name: str
    home: Path


class Users:
    """Adds users, and removes them and their files at the end."""

    def __init__(self) -> None:
        self._users: list[User] = []
        self.folder = Path()
        """A directory that all users can read, because pytest's directories are private."""

    def __enter__(self) -> Users:
        self.folder = Path(tempfile.mkdtemp(prefix="tej-users-"))
        self.folder.chmod(0o755)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for user in self._users:
            subprocess.run(
                ["userdel", "--force", user.name], check=False, capture_output=True
            )
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(
        self,
        shell: str = "/bin/sh",
        *,
        password: str | None = None,
        noisy: bool = False,
    ) -> User:
        """Add a user with a login shell.

        Without a password, the user can log in only with a key.
        """
        name = f"tejtest{os.getpid()}x{len(self._users)}"
        user = User(name, self.folder / name)
        user.home.mkdir()
        if noisy:
            make_noisy(user.home)
        subprocess.run(
            # With "*" no password is valid; "!" would lock the account.
            ["useradd", "-M", "-d", user.home, "-s", shell, "-p", "*", name],
            check=True,
            capture_output=True,
        )
        self._users.append(user)
        if password is not None:
            subprocess.run(
                ["chpasswd"], input=f"{name}:{password}".encode(), check=True
            )
        subprocess.run(["chown", "-R", name, user.home], check=True)
        return user
