"""`TejStorage`: block that stores the results of flows and tasks on a server."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from prefect.filesystems import WritableFileSystem
from pydantic import Field, HttpUrl, field_validator

import tej
from tej_prefect.context import in_thread
from tej_prefect.credentials import (
    DOCUMENTATION_URL,
    LOGO_URL,
    MODEL_CONFIG,
    TejDestination,
)

ADDRESS_VARIABLE = "TEJ_PREFECT_ADDRESS"
"""Environment variable that the worker sets in its jobs.

The value is the address of the server that runs the job."""
MISSING = 66
"""Exit status of the script that reads a file, if the file does not exist."""

# The scripts that read and write a file start in the home directory.  A file is written
# under a temporary name and then renamed, so that no incomplete file can be read.
_READ = f'cd -- "$1" && [ -f "$2" ] || exit {MISSING}; cat <"$2"'
_WRITE = """
umask 077
mkdir -p -- "$1/${2%/*}" && cd -- "$1" && cat >"$2.$$" && mv -f -- "$2.$$" "$2"
"""


class TejStorage(WritableFileSystem):
    """
    Stores the results of flows and tasks as files on a server, over SSH.

    Jobs of the tej worker on the same server read and write the files directly.

    Example:
        Load a stored block and use it for the result of a flow:
        ```python
        from prefect import flow
        from tej_prefect import TejStorage

        storage = TejStorage.load("BLOCK_NAME")

        @flow(result_storage=storage, persist_result=True)
        def study() -> int:
            return 42
        ```
    """

    model_config = MODEL_CONFIG

    _block_type_name = "tej Storage"
    _block_type_slug = "tej-storage"
    _documentation_url = HttpUrl(DOCUMENTATION_URL)
    _logo_url = HttpUrl(LOGO_URL)

    destination: TejDestination
    """The server that stores the files."""
    directory: str = Field(default=".tej-results", min_length=1)
    """The directory of the files on the server, absolute or relative to the home
    directory."""

    @field_validator("directory")
    @classmethod
    def _make_relative(cls, directory: str) -> str:
        return directory.removeprefix("~/") or "."

    async def read_path(self, path: str) -> bytes:
        """Return the content of a file; raise ValueError if the file does not exist."""
        key = _check(path)
        return await in_thread(lambda: self._read(key))

    async def write_path(self, path: str, content: bytes) -> None:
        """Write a file that only its owner can read."""
        key = _check(path)
        await in_thread(lambda: self._write(key, content))

    def _read(self, key: str) -> bytes:
        try:
            return self._queue.shell(_READ, self.directory, key, again=True)
        except tej.RemoteCommandFailure as error:
            if error.ret != MISSING:
                raise
            raise ValueError(
                f"There is no file '{key}' in {self.directory} at "
                f"{self.destination.address}"
            ) from error

    def _write(self, key: str, content: bytes) -> None:
        self._queue.shell(
            _WRITE, self.directory, key, stdin=lambda: [content], again=True
        )

    @property
    def _queue(self) -> tej.RemoteQueue:
        """The queue over whose connection the files are read and written.

        In a job on the server of the storage, this is a local queue, which needs no
        connection.
        """
        if os.environ.get(ADDRESS_VARIABLE) == self.destination.address:
            return tej.shared_queue("local:")
        return self.destination.get_client()


def _check(path: str) -> str:
    """Return the path of a file; raise ValueError if it is outside the directory."""
    key = PurePosixPath(path)
    if not key.parts or key.is_absolute() or ".." in key.parts:
        raise ValueError(f"'{path}' is not below the directory of the storage")
    # `./` prevents a name that begins with a dash from being read as an option.
    return f"./{key}"
