"""Luigi tasks and targets for jobs on a server: `TejTask`, `TejBatch`, `TejFileTarget`.

class Simulate(TejTask):
    seed = luigi.IntParameter()
    directory = "simulation/"
    command = "start.sh {{seed}}"
    results = ("out.csv",)
"""

try:
    import luigi as _luigi  # noqa: F401 (imported to detect that Luigi is missing)
except ImportError as error:
    raise ImportError(
        "tej_luigi needs Luigi: pip install 'tej[luigi]' (Python 3.10 to 3.13)"
    ) from error

from tej import OptionalFile as Optional
from tej_luigi.batch import TejBatch
from tej_luigi.config import TejConfig as settings
from tej_luigi.files import (
    ParentNotFound,
    PathExists,
    PathIsDirectory,
    PathIsNotADirectory,
    PathNotFound,
    TejFileSystem,
    TejFileTarget,
)
from tej_luigi.targets import TejJobTarget, TejResultTarget
from tej_luigi.task import TejTask

__all__ = [
    "Optional",
    "ParentNotFound",
    "PathExists",
    "PathIsDirectory",
    "PathIsNotADirectory",
    "PathNotFound",
    "TejBatch",
    "TejFileSystem",
    "TejFileTarget",
    "TejJobTarget",
    "TejResultTarget",
    "TejTask",
    "settings",
]
