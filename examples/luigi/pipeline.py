"""Luigi pipeline of random walks: each walk is a job on a server.

The file walk.cfg of each job is rendered with the seed of the walk.  The task Summary
fetches the results of all walks and computes their mean squared distance, which is
about the number of steps.

    luigi --module pipeline Summary --walks 20 --local-scheduler --tej-destination HOST
"""

from __future__ import annotations

import csv
from pathlib import Path

import luigi

from tej_luigi import TejBatch, TejTask

HERE = Path(__file__).parent


class Walk(TejTask):
    """Runs one random walk as a job."""

    seed = luigi.IntParameter()
    steps = luigi.IntParameter(default=2000)

    directory = HERE / "simulation"
    rendered = ("walk.cfg",)
    results = ("end.csv",)


class Walks(TejBatch):
    """Runs the jobs of all walks in one worker slot."""

    walks = luigi.IntParameter()

    def jobs(self) -> list[Walk]:
        return [Walk(seed=seed) for seed in range(self.walks)]


class Summary(luigi.Task):
    """Writes the mean squared distance of all walks from their start to a file."""

    walks = luigi.IntParameter(default=20)

    def requires(self) -> Walks:
        return Walks(walks=self.walks)

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"summary-{self.walks}.csv")

    def run(self) -> None:
        squares = []
        for walk in self.input():
            with walk["results"]["end.csv"].open() as file:
                (row,) = csv.DictReader(file)
            squares.append(int(row["x"]) ** 2 + int(row["y"]) ** 2)
        with self.output().open("w") as file:
            file.write("walks,mean_squared_distance\n")
            file.write(f"{self.walks},{sum(squares) / len(squares)}\n")
