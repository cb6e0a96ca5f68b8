"""Signatures of modules.  The id of a job contains the signature of its module.

The signature of a module covers the module and its upstream modules.  There are two
schemes.  The scheme `vistrails` computes what VisTrails' Hasher computes: SHA-1 over
concatenated text.  With `vistrails`, the job ids of a workflow are the same as with
the tej package that VisTrails includes.  This file encodes text as UTF-8, whereas
VisTrails can only hash ASCII text.

The scheme `content` hashes the contents of files instead of their names and
modification times.  The signature is the SHA-256 of fields written as netstrings
(https://cr.yp.to/proto/netstrings.txt).  The fields of a module are:

1. `tej-vistrails-content-1`, the package's identifier, the namespace, the name
2. for each port with values, sorted by name: `set`, the port, and for each value in
   order the number of its parameters and the parameters.  The digest of the
   content replaces the path of a File, Directory or Path.  A value equal to the port's
   default is left out.
3. for each control parameter, sorted by name: `control`, the name, the value
4. for each extra port, sorted by type and name: `port`, its type, name and depth
5. for each incoming connection, sorted by port: `connection`, the port, the source's
   port, and the source's signature in 64 hexadecimal digits.  If the source is a String
   connected to the port `name` of a File, Directory or Path, the digest of that path's
   content replaces the signature

`content` does not include package versions.  Ports that do not affect a job's result
(`ports.BESIDE_THE_WORK`), such as `queue`, and the modules upstream of such ports are
not included either.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
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
"""Error handler for encoding; in Python 3, a file name may contain invalid text."""
_UNSEEN = frozenset(["InputPort", "Group", "Abstraction"])
"""Types of modules whose content is not part of the pipeline that is signed."""
_PATHS = frozenset(["File", "Directory", "Path"])
"""Types of modules that have a port `name` and whose value is a path."""


class CannotSign(Exception):
    """The content signature cannot be computed; the message contains the reason."""


def vistrails_signature(pipeline, number):
    # type: (Description, int) -> str
    """Return the module's signature as VisTrails computes it: 40 hexadecimal digits."""
    return "".join("%02x" % byte for byte in bytearray(_subpipeline(pipeline, number)))


def content_signature(pipeline, number):
    # type: (Description, int) -> str
    """Return the module's content signature: 64 hexadecimal digits.

    Raises CannotSign."""
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
    """Return the modification time of a file or directory, in whole seconds.

    For a directory, return the latest time of the directory and its subdirectories."""
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
    """Return True if the value of the port is a path on this machine."""
    return module.package == BASIC and module.name in _PATHS and port == "name"


def _source(pipeline, connection, known):
    # type: (Description, Connection, Dict[int, str]) -> str
    """Return the field of a connection that identifies its source.

    The field is a signature or, for the name of a file, the digest of the file."""
    source = pipeline.modules[connection.source]
    target = pipeline.modules[connection.target]
    # The signature of a File, Directory or Path already covers the content.
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
    """Return the digest of a file, or of a directory and everything in it."""
    try:
        return _sha256(field for entry in _entries(path, "") for field in entry)
    except (OSError, IOError) as error:
        raise CannotSign("'%s' cannot be read: %s" % (path, error))


def _sha256(fields):
    # type: (Iterable[Any]) -> str
    """Return the SHA-256 of the fields, each written as a netstring."""
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
