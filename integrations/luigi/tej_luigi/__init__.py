"""Luigi targets and tasks whose completeness is tej's.

class Simulate(TejTask):
    seed = luigi.IntParameter()
    directory = "simulation/"
    command = "start.sh {{seed}}"
    results = ("out.csv",)
"""

try:
    import luigi as _luigi  # noqa: F401 (says at once what is missing)
except ImportError as error:
    raise ImportError(
        "tej_luigi needs Luigi: pip install 'tej[luigi]' (with Python 3.10 to 3.13)"
    ) from error

from tej_luigi.batch import TejBatch
from tej_luigi.config import tej as settings
from tej_luigi.ended import TejJobEnded
from tej_luigi.file_system import (
    PathExists,
    PathIsDirectory,
    PathIsNotADirectory,
    PathNotFound,
    TejFileSystem,
)
from tej_luigi.file_target import TejFileTarget
from tej_luigi.job_target import TejJobTarget
from tej_luigi.task import TejTask

__all__ = [
    "PathExists",
    "PathIsDirectory",
    "PathIsNotADirectory",
    "PathNotFound",
    "TejBatch",
    "TejFileSystem",
    "TejFileTarget",
    "TejJobEnded",
    "TejJobTarget",
    "TejTask",
    "settings",
]
