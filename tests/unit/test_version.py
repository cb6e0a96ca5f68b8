"""Versions: order of releases, candidates and development versions."""

from __future__ import annotations

from tej.version import version_key

SORTED = ["", "0.6", "1.0.0.dev0", "1.0.0rc1", "1.0.0rc2", "1.0.0", "1.0.1", "1.10"]
BACKWARD = SORTED[::-1]


def test_candidates_come_before_their_release() -> None:
    assert sorted(BACKWARD, key=version_key) == SORTED


def test_any_text_has_a_key() -> None:
    assert version_key("not a version") < version_key("1.0.0")
