"""The recorded sessions of the documentation show what tej prints now."""

import importlib.util
import os
import re
from pathlib import Path

from jobs import remove_queue

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "sessions.md"


def load_script():
    path = CHECKOUT / "scripts" / "record.py"
    specification = importlib.util.spec_from_file_location("record", path)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script


def test_recorded_sessions_are_up_to_date(tmp_path, monkeypatch):
    script = load_script()
    monkeypatch.chdir(tmp_path)
    environment = script.prepare(tmp_path)
    for name in os.environ.keys() - environment.keys() - {"PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    page = PAGE.read_text(encoding="utf-8")
    try:
        new = "\n".join(script.record(page, tmp_path)) + "\n"
    finally:
        remove_queue(tmp_path / "jobs")
    assert script.compare(page, new) == "", "run scripts/record.py"


def test_sweep_with_fix_takes_eight_short_commands():
    text = PAGE.read_text(encoding="utf-8")
    section = text.split("Eight commands")[1].split("\n## ")[0]
    commands = re.findall(r"^    \$ (.*)", section, re.M)
    assert len(commands) == 8
    assert max(map(len, commands)) <= 60
