"""Fixtures of the tests of tej_luigi, if Luigi supports this version of Python."""

import importlib.util
import os
import sys
import warnings

if importlib.util.find_spec("luigi") is not None:
    with warnings.catch_warnings():
        # `import luigi` emits a warning while it also imports the range tasks.
        warnings.simplefilter("ignore", DeprecationWarning)
        import luigi  # noqa: F401

    from tests.adapters_luigi.fixtures import *  # noqa: F403
elif os.environ.get("CI") and sys.version_info < (3, 14):
    raise RuntimeError("CI has to have Luigi: pip install 'tej[luigi]'")
else:
    collect_ignore_glob = ["test_*.py"]
