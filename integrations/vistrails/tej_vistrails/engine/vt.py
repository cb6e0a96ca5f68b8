"""Reading of pipelines from vistrail files.

A vistrail contains a tree of versions; each version is stored as changes to its parent.

A `.vt` file is a zip archive that contains the XML file `vistrail`; an `.xml` file is
only that XML file.  The engine reads the elements of modules that it supports.  If a
pipeline contains an unsupported element, the error message describes the element.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from xml.etree import ElementTree

from tej_vistrails.description import ExtraPort
from tej_vistrails.engine import types
from tej_vistrails.engine.errors import PipelineError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tej_vistrails.engine.graph import Graph, Node

Made = TypeVar("Made", bound="Graph")
Key = tuple[str, str]
"""Kind and number of an XML element that is part of a pipeline."""

_MEMBER = "vistrail"
_LARGEST = 64 << 20
"""Maximum size of the XML file, in bytes."""
_IGNORED = frozenset({"location", "annotation", "plugin_data", "abstractionRef"})
_PARTS = {
    "module": "",
    "connection": "",
    "function": "module",
    "parameter": "function",
    "port": "connection",
    "portSpec": "module",
    "controlParameter": "module",
}
"""Kinds of XML elements that are read, and the kind of each one's parent."""


def load(make: type[Made], path: str | os.PathLike[str], version: str | None) -> Made:
    """Return the pipeline of a version of a vistrail.

    `version` is a number, a tag, or None for the latest version.  Raises PipelineError
    if the pipeline cannot be read.
    """
    root = _read(path)
    actions = {one.get("id", ""): one for one in root.iter("action")}
    number = _find_version(root, actions, version, os.fspath(path))
    where = f"'{os.fspath(path)}', version {number}"
    try:
        return _build(make, _replay(actions, number))
    except PipelineError as error:
        raise PipelineError(f"{where}: {error}") from error
    except (KeyError, ValueError) as error:
        raise PipelineError(f"{where}, is damaged: there is no {error}") from error


def _read(path: str | os.PathLike[str]) -> Element:
    where = os.fspath(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as file:
                data = file.read(_LARGEST + 1)
        else:
            data = Path(path).read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise PipelineError(f"'{where}' cannot be read: {error}") from error
    # XML entities can expand a small file to an unlimited size.  VisTrails writes no
    # entities.
    if len(data) > _LARGEST or b"<!ENTITY" in data:
        raise PipelineError(f"'{where}' is no vistrail, or much too large")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise PipelineError(f"'{where}' is no vistrail: {error}") from error
    if root.tag != "vistrail":
        raise PipelineError(f"'{where}' is no vistrail, but <{root.tag}>")
    return root


def _find_version(
    root: Element, actions: dict[str, Element], version: str | None, where: str
) -> str:
    notes: dict[str, dict[str, str]] = {}
    for note in root.iter("actionAnnotation"):
        by_action = notes.setdefault(note.get("key", ""), {})
        by_action[note.get("actionId", "")] = note.get("value", "")
    tags = {name: number for number, name in notes.get("__tag__", {}).items()}
    if version is not None:
        number = tags.get(version, version)
        if number not in actions:
            known = ", ".join(sorted(filter(None, tags))) or "none"
            raise PipelineError(f"'{where}' has no version '{version}'; tags: {known}")
        return number
    pruned = notes.get("__prune__", {})
    left = [one for one in actions if not _is_pruned(one, actions, pruned)]
    if not left:
        raise PipelineError(f"'{where}' has no version but the empty one")
    return max(left, key=int)


def _is_pruned(
    number: str, actions: dict[str, Element], pruned: dict[str, str]
) -> bool:
    while number in actions:
        if pruned.get(number, "").lower() == "true":
            return True
        number = actions[number].get("prevId", "0")
    return False


def _replay(actions: dict[str, Element], number: str) -> dict[Key, Element]:
    """Return the elements of a version after all changes.

    The attribute `parent` of an element is the number of the parent element."""
    chain = []
    while number in actions:
        chain.append(actions[number])
        number = actions[number].get("prevId", "0")
    elements: dict[Key, Element] = {}
    for action in reversed(chain):
        for change in action:
            what = change.get("what", "")
            if change.tag not in ("add", "change", "delete") or what in _IGNORED:
                continue
            if change.tag == "delete":
                elements.pop((what, change.get("objectId", "")), None)
                continue
            if what not in _PARTS:
                raise _unknown(f"A {what}")
            if change.tag == "change":
                elements.pop((what, change.get("oldObjId", "")), None)
            added = change.find(what)
            if added is not None:
                added.set("parent", change.get("parentObjId", ""))
                elements[what, added.get("id", "")] = added
    return elements


def _build(make: type[Made], elements: dict[Key, Element]) -> Made:
    pipeline = make()
    nodes: dict[str, Node] = {}
    for element in _all(elements, "module"):
        package, name = element.get("package", ""), element.get("name", "")
        type_ = types.find(package, name, element.get("namespace", ""))
        number = element.get("id", "")
        nodes[number] = pipeline.insert(f"{name}{number}", package, type_)
    for element in _all(elements, "portSpec"):
        nodes[element.get("parent", "")].extra.append(_extra_port(element))
    for element in _all(elements, "controlParameter"):
        name = element.get("name", "")
        raise _unknown(f"The control parameter '{name}'")
    for element in _all(elements, "function", "pos"):
        values = [
            one.get("val", "")
            for one in _all(elements, "parameter", "pos")
            if one.get("parent") == element.get("id")
        ]
        nodes[element.get("parent", "")].set(element.get("name", ""), *values)
    for element in _all(elements, "connection"):
        ends = {
            one.get("type"): (nodes[one.get("moduleId", "")], one.get("name", ""))
            for one in _all(elements, "port")
            if one.get("parent") == element.get("id")
        }
        source, port = ends["source"]
        pipeline.connect(source[port], *ends["destination"])
    return pipeline


def _unknown(what: str) -> PipelineError:
    return PipelineError(f"{what} is nothing this engine knows: it takes VisTrails")


def _extra_port(element: Element) -> ExtraPort:
    items = sorted(
        element.iter("portSpecItem"), key=lambda one: int(one.get("pos", "0"))
    )
    names = ",".join(f"{one.get('package')}:{one.get('module')}" for one in items)
    depth = int(element.get("depth", "0"))
    type_, name = element.get("type", ""), element.get("name", "")
    if depth:
        raise PipelineError(
            f"The port '{name}' is one of lists, which are not known here"
        )
    return ExtraPort(type_, name, f"({names})", depth)


def _all(elements: dict[Key, Element], what: str, order: str = "id") -> list[Element]:
    found = [element for (kind, _), element in elements.items() if kind == what]
    return sorted(found, key=lambda element: int(element.get(order, "0")))
