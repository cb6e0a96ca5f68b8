"""Luigi's own tests of a target (17 tests) and of bulk_complete."""

from __future__ import annotations

import unittest
from pathlib import Path

import luigi
import pytest
from luigi.format import Format

from tej_luigi import TejFileTarget, TejTask
from tej_luigi.config import QueueAddress
from tests.adapters_luigi.luigi_sources import own_tests
from tests.adapters_luigi.run_tasks import build

EXPECTED = 17


# Luigi's tests leave files open.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_file_target_passes_luigis_mixin(
    address: QueueAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERRIDE_SKIP_CI_TESTS", "true")
    mixin = own_tests("target_test").FileSystemTargetTestMixin
    folder = tmp_path / "on the server"

    class FileTargetTest(mixin, unittest.TestCase):  # type: ignore[misc, valid-type]
        path = ""

        def create_target(self, format: Format | None = None) -> TejFileTarget:
            self.path = str(folder / self._testMethodName / "it's a file")
            return TejFileTarget(self.path, format=format)

        def assertCleanUp(self, tmp_path: str = "") -> None:
            assert not tmp_path
            there = Path(self.path).parent
            assert not there.exists() or {*there.iterdir()} <= {Path(self.path)}

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(FileTargetTest)
    assert suite.countTestCases() == EXPECTED
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun == EXPECTED
    wrong = [*result.errors, *result.failures, *result.skipped]
    assert not wrong, "\n".join(words for _, words in wrong)


def test_bulk_complete_passes_luigis_tests(address: QueueAddress) -> None:
    module = own_tests("task_bulk_complete_test")
    letters = module.COMPLETE_TASKS

    class Letter(TejTask):
        param_a = luigi.Parameter()
        param_b = luigi.Parameter(default="Not Mandatory")
        inline = "echo {{param_a}}"

    assert build(*(Letter(param_a=letter) for letter in letters))
    module.MockTask = Letter
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(
        module.MixinNaiveBulkCompleteTest
    )
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun == 3
    wrong = [*result.errors, *result.failures, *result.skipped]
    assert not wrong, "\n".join(words for _, words in wrong)
