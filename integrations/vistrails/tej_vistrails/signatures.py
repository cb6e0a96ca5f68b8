"""A module and all that leads to it, to the signature that names its job.

There are two schemes.  `vistrails` is that of VisTrails itself (its Hasher): SHA-1 over
plain concatenation, so that a workflow has the ids it always had.  Text is UTF-8, which
VisTrails cannot hash at all if it is more than ASCII.

`content` is free of its weak points: SHA-256 over fields written as netstrings
(https://cr.yp.to/proto/netstrings.txt), of a module:

1. `tej-vistrails-content-1`, the package's identifier, the namespace, the name
2. for each port on which something is set, by name: `set`, the port, and the values in
   their order, each with how many they are; of a File, Directory or Path its content,
   also if it is given by its name.  A value that is the port's default is as if it were
   not set.
3. for each control parameter, by name: `control`, the name, the value
4. for each port of this module alone, by type and name: `port`, its type, name, depth
5. for each connection to it, by port: `connection`, the port, the source's port, and
   the same of the source, as 64 hexadecimal digits; of a String that is the name of a
   File, Directory or Path, the content of that

Not in it: versions of packages, and the ports that change nothing in what the job does
(`ports.BESIDE_THE_WORK`), with all that leads to them; the Queue is one of that.

Part of what VisTrails loads: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

import hashlib
import os
import stat
import sys

from .description import BASIC, TEJ
from .ports import BESIDE_THE_WORK, NEW_BESIDE_THE_WORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Tuple

    from .description import Connection, Description, Function, Module, Parameter

_CHUNK = 1 << 20
_ODD = "strict" if sys.version_info[0] < 3 else "surrogateescape"
"""For what is in file names and no text; Python 2 has it as bytes."""
_UNSEEN = frozenset(["InputPort", "Group", "Abstraction"])
"""Modules whose meaning lies outside of the pipeline that is looked at."""
_PATHS = frozenset(["File", "Directory", "Path"])
"""Types of what is read on this machine; also modules, with a port `name` for it."""


class CannotSign(Exception):
    """There is no content signature for this pipeline; the message says why."""


def vistrails_signature(pipeline, number):
    # type: (Description, int) -> str
    """The signature that VisTrails gives a module in its place: 40 hex digits."""
    return "".join("%02x" % byte for byte in bytearray(_subpipeline(pipeline, number)))


def content_signature(pipeline, number):
    # type: (Description, int) -> str
    """The signature by content: 64 hex digits.  Raises CannotSign."""
    return _content(pipeline, number, {})


def _subpipeline(pipeline, number):
    # type: (Description, int) -> bytes
    upstream = [
        _subpipeline(pipeline, one.source) + _sha1(one.source_port, one.target_port)
        for one in pipeline.into(number)
    ]
    return _sha1(_module(pipeline.modules[number]), *sorted(upstream))


def _module(module):
    # type: (Module) -> bytes
    beside = NEW_BESIDE_THE_WORK if module.package == TEJ else frozenset()
    functions = [one for one in module.functions if one.port not in beside]
    return _sha1(
        module.name,
        module.package,
        module.namespace,
        module.package_version,
        module.module_version,
        _all(_function(one) for one in functions),
        _all(_sha1(name, value) for name, value in module.controls),
        _all(
            _sha1(one.type, one.name, one.signature, "%d" % one.depth)
            for one in module.extra_ports
        ),
    )


def _function(function):
    # type: (Function) -> bytes
    return _sha1(
        function.port, "void", _all(_parameter(one) for one in function.parameters)
    )


def _parameter(parameter):
    # type: (Parameter) -> bytes
    digest = _sha1(
        parameter.type,
        parameter.package,
        parameter.namespace,
        parameter.value,
        parameter.name,
    )
    if parameter.is_path:
        try:
            digest = _sha1(digest, "%d" % _modified(parameter.value))
        except OSError:
            pass
    return digest


def _modified(path):
    # type: (str) -> int
    """When a file was changed, or the last of a directory's directories."""
    seconds = int(os.path.getmtime(path))
    if os.path.isdir(path):
        for name in os.listdir(path):
            below = os.path.join(path, name)
            if os.path.isdir(below):
                seconds = max(seconds, _modified(below))
    return seconds


def _all(digests):
    # type: (Iterable[bytes]) -> bytes
    return _sha1(*sorted(digests))


def _sha1(*parts):
    # type: (Any) -> bytes
    digest = hashlib.sha1()
    for part in parts:
        digest.update(_bytes(part))
    return digest.digest()


def _bytes(value):
    # type: (Any) -> bytes
    return value if isinstance(value, bytes) else value.encode("utf-8", _ODD)


def _content(pipeline, number, known):
    # type: (Description, int, Dict[int, str]) -> str
    if number not in known:
        known[number] = _sha256(_fields(pipeline, number, known))
    return known[number]


def _fields(pipeline, number, known):
    # type: (Description, int, Dict[int, str]) -> Iterator[Any]
    module = pipeline.modules[number]
    if module.name in _UNSEEN:
        raise CannotSign(
            "The scheme 'content' cannot see into a module of type %s: put the job "
            "outside of groups, or use the scheme 'vistrails'" % module.name
        )
    for field in ("tej-vistrails-content-1",) + module.kind:
        yield field
    beside = BESIDE_THE_WORK if module.package == TEJ else frozenset()
    by_port = {}  # type: Dict[str, List[Function]]
    for function in module.functions:
        by_port.setdefault(function.port, []).append(function)
    for port in sorted(by_port):
        if port in beside or _is_default(module, by_port[port]):
            continue
        yield "set"
        yield port
        for function in by_port[port]:
            yield "%d" % len(function.parameters)
            for parameter in function.parameters:
                yield _value(module, port, parameter)
    for name, value in sorted(module.controls):
        for field in ("control", name, value):
            yield field
    for extra in sorted(module.extra_ports, key=lambda one: (one.type, one.name)):
        for field in ("port", extra.type, extra.name, "%d" % extra.depth):
            yield field
    into = [one for one in pipeline.into(number) if one.target_port not in beside]
    for connection in sorted(
        (one.target_port, one.source_port, _source(pipeline, one, known))
        for one in into
    ):
        yield "connection"
        for field in connection:
            yield field


def _is_default(module, functions):
    # type: (Module, List[Function]) -> bool
    default = module.defaults.get(functions[0].port)
    if default is None or len(functions) > 1:
        return False
    return [one.value for one in functions[0].parameters] == list(default)


def _value(module, port, parameter):
    # type: (Module, str, Parameter) -> str
    is_path = parameter.package == BASIC and parameter.type in _PATHS
    if is_path or _names_path(module, port):
        return _tree(parameter.value)
    return parameter.value


def _names_path(module, port):
    # type: (Module, str) -> bool
    """Whether the text on a port is the name of something on this machine."""
    return module.package == BASIC and module.name in _PATHS and port == "name"


def _source(pipeline, connection, known):
    # type: (Description, Connection, Dict[int, str]) -> str
    """What counts of the module that a connection comes from."""
    source = pipeline.modules[connection.source]
    target = pipeline.modules[connection.target]
    # Of one that is a path itself, the content is in its own signature.
    is_path = source.package == BASIC and source.name in _PATHS
    if is_path or not _names_path(target, connection.target_port):
        return _content(pipeline, connection.source, known)
    is_set = len(source.functions) == 1 and not pipeline.into(connection.source)
    if source.kind != (BASIC, "", "String") or not is_set:
        raise CannotSign(
            "The scheme 'content' cannot tell which file it is whose name comes from a "
            "module of type %s: set the name itself, or use the scheme 'vistrails'"
            % source.name
        )
    return _tree(source.functions[0].parameters[0].value)


def _tree(path):
    # type: (str) -> str
    """The content of a file or of a directory with all that is in it."""
    try:
        return _sha256(field for entry in _entries(path, "") for field in entry)
    except (OSError, IOError) as error:
        raise CannotSign("'%s' cannot be read: %s" % (path, error))


def _sha256(fields):
    # type: (Iterable[Any]) -> str
    """Of fields as netstrings."""
    digest = hashlib.sha256()
    for field in fields:
        data = _bytes(field)
        digest.update(b"".join([_bytes("%d:" % len(data)), data, b","]))
    return digest.hexdigest()


def _entries(path, name):
    # type: (str, str) -> Iterator[Tuple[str, str, str]]
    if name and os.path.islink(path):
        yield "link", name, os.readlink(path)
    elif os.path.isdir(path):
        yield "directory", name, ""
        for below in sorted(os.listdir(path), key=_bytes):
            under = name + "/" + below if name else below
            for entry in _entries(os.path.join(path, below), under):
                yield entry
    else:
        executable = os.stat(path).st_mode & (
            stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
        )
        yield "executable" if executable else "file", name, _digest(path)


def _digest(path):
    # type: (str) -> str
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            data = file.read(_CHUNK)
            if not data:
                return digest.hexdigest()
            digest.update(data)
