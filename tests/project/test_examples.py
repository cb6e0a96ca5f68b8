"""The example job computes the documented result in every shell and awk."""

import csv
import shutil
import subprocess
from math import prod
from pathlib import Path

import pytest

PRIMES = Path(__file__).parents[2] / "examples" / "primes"


@pytest.fixture
def job(tmp_path):
    return Path(shutil.copytree(PRIMES, tmp_path / "primes"))


def run(job, shell=("sh",)):
    return subprocess.run([*shell, "start.sh"], cwd=job, capture_output=True, text=True)


def test_primes_example_factors_its_numbers(job, shell):
    (job / "numbers.txt").write_text("# small ones\n97\n\n360\n25000110000121\n")
    assert run(job, shell).returncode == 0
    assert (job / "results.csv").read_text() == (
        "number,factors,prime\n"
        "97,97,yes\n"
        "360,2 2 2 3 3 5,no\n"
        "25000110000121,5000011 5000011,no\n"
    )
    assert "3 numbers factored" in (job / "primes.log").read_text()


def test_products_of_factors_equal_the_numbers(job):
    numbers = (job / "numbers.txt").read_text().splitlines()
    expected = [line for line in numbers if line and not line.startswith("#")]
    assert run(job).returncode == 0
    with (job / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == expected
    for row in rows:
        factors = [int(factor) for factor in row["factors"].split()]
        assert prod(factors) == int(row["number"])
        assert row["prime"] == ("yes" if len(factors) == 1 else "no")


@pytest.mark.parametrize("number", ["1", "-3", "many", "9007199254740993"])
def test_line_without_number_fails_example(job, number):
    (job / "numbers.txt").write_text(f"7\n{number}\n")
    done = run(job)
    assert done.returncode != 0
    assert f"line 2: '{number}' is not a whole number" in done.stderr
    assert not (job / "results.csv").exists()
