"""Module classes that the tests of pipelines share."""

from __future__ import annotations

from pathlib import Path

from tej_vistrails import Directory, File, Job, Output, PythonScript


class Mesh(Job):
    size: int
    out: Output = "out/mesh.txt"
    command = "seq {size} >{out}"


class Relax(Job):
    structure: File
    steps: int = 100
    label: str = ""
    energy: Output = "energy.json"
    logs: Output = "logs/"
    command = """
        lines=$(wc -l <{structure})
        printf '{"energy": %d, "label": "%s"}\\n' $((lines * {steps})) {label} >{energy}
        echo {structure} >logs/log
        test {steps} -ne 13
    """


class Total(PythonScript):
    parts: list[File]
    scale: float = 1
    note: str | None = None
    total: Output = "total.json"

    @staticmethod
    def main(parts, scale, note, total):
        import json

        energies = []
        for part in parts:
            with open(part) as file:
                energies.append(json.load(file)["energy"])
        with open(total, "w") as file:
            json.dump({"total": scale * sum(energies), "parts": energies}, file)


class Listing(Job):
    folder: Directory
    files: Output = "files.txt"
    command = "ls -R {folder} >{files}"


DOCUMENT = """\
pipeline: demo
modules:
  size: {type: Constant, value: 3}
  mesh:
    inputs: {size: {from: size}}
    outputs: {out: mesh.txt}
    command: seq {size} >{out}
  relax:
    inputs: {structure: {from: mesh.out}, steps: 2, label: "naïve 'x'"}
    outputs: {energy: energy.json, picture: plot.svg}
    command: |
      lines=$(wc -l <{structure})
      printf '{"energy": %d}\\n' $((lines * {steps})) >{energy}
      echo '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>' >{picture}
      if [ {steps} -eq 13 ]; then printf '\\033[31mno convergence' >&2; exit 3; fi
  sum:
    type: PythonScript
    inputs: {parts: [{from: relax.energy}]}
    outputs: {total: total.json}
    source: |
      energies = [json.load(open(part))["energy"] for part in parts]
      json.dump({"total": sum(energies)}, open(total, "w"))
"""


def write_document(folder: Path) -> Path:
    path = folder / "demo.yaml"
    path.write_text(DOCUMENT, "utf-8")
    return path
