"""Random walks as jobs on a server, and how far they got on average.

A walk's configuration is rendered with its seed; each walk is a job; what they found
is fetched and reduced to one line.  The mean squared distance of a random walk is its
number of steps.

    luigi --module pipeline Summary --walks 20 --local-scheduler --tej-destination HOST
"""

from __future__ import annotations

import csv
from pathlib import Path

import luigi

from tej_luigi import TejBatch, TejTask

HERE = Path(__file__).parent


class Walk(TejTask):
    """One walk: a job of its own."""

    seed = luigi.IntParameter()
    steps = luigi.IntParameter(default=2000)

    directory = HERE / "simulation"
    rendered = ("walk.cfg",)
    results = ("end.csv",)


class Walks(TejBatch):
    """All of them, in one slot of Luigi's."""

    walks = luigi.IntParameter()

    def jobs(self) -> list[Walk]:
        return [Walk(seed=seed) for seed in range(self.walks)]


class Summary(luigi.Task):
    """Their mean squared distance from where they began."""

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
