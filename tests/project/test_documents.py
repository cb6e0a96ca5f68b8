"""Documentation: the README's commands run, and the documents name existing things."""

import ast
import contextlib
import io
import re
import shlex
import subprocess
import textwrap
from pathlib import Path

import pytest

from tej.cli.main import OTHER_NAMES, main
from tej.cli.main import tej as command_line

CHECKOUT = Path(__file__).parents[2]
README = CHECKOUT / "README.md"
DOCUMENTS = sorted(
    path.relative_to(CHECKOUT)
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "tests/*.md")
    for path in CHECKOUT.glob(pattern)
)

FAILS = {"tej wait --all": 1}
"""Exit status of the commands that fail in the README, because a job failed."""


def indented_blocks(text):
    return re.findall(r"(?<=\n\n)((?:    .*\n|\n(?=    ))+)", text)


def commands_with_output(block):
    """Return the pairs of a command after `$ ` and its output."""
    pairs = []
    for line in block.splitlines():
        text = line[4:]
        if text.startswith("$ "):
            pairs.append((text[2:], []))
        elif pairs:
            pairs[-1][1].append(text)
    return pairs


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home and current directory of a new user, without a queue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TEJ_RUNTIME", "default")
    for name in ("TEJ_DESTINATION", "TEJ_PROFILE", "TEJ_QUEUE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run_tej(words):
    """Run a command in this process, which is faster; return its status and output."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        pytest.raises(SystemExit) as ended,
    ):
        main(words)
    return ended.value.code, output.buffer.getvalue().decode()


def run_command(command):
    if command.startswith("tej "):
        return run_tej(shlex.split(command)[1:])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def without_timing(output):
    """Return output of tej without the parts that depend on the speed of the machine."""
    started = re.sub(r"^Job is (created|queued).*\n", "", output, flags=re.M)
    return re.sub(r"\(\d+:\d\d\)", "(0:00)", started)


def test_readme_commands_run_on_this_machine(home, monkeypatch):
    text = re.sub(r"user@(server|cluster)\.example\.org", "local:", README.read_text())
    ran = []
    for block in indented_blocks(text):
        if "import tej" in block:
            exec("\n".join(line[4:] for line in block.splitlines()), {})
            ran.append("python")
        for command, shown in commands_with_output(block):
            if command.startswith("export "):
                monkeypatch.setenv(*command.removeprefix("export ").split("="))
                continue
            status, output = run_command(command)
            assert status == FAILS.get(command, 0), (command, output)
            if shown:
                assert without_timing(output).splitlines() == shown
            ran.append(command.split()[0])
    assert ran.count("tej") >= 5
    assert "python" in ran


def test_readme_has_at_most_150_lines():
    assert len(README.read_text().splitlines()) <= 150


def code_in(text):
    """Yield each line of a code block, and each piece of inline code."""
    fenced = False
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands_in(text):
    """Yield each `tej COMMAND` in code, with its options."""
    for code in code_in(text):
        for name, rest in re.findall(
            r"(?:^|[$(|&;]) *tej ([a-z][a-z-]*)\b([^|;&)#]*)", code
        ):
            own = rest.split(" -- ")[0]
            yield name, re.findall(r"(?<=\s)(--[a-z][a-z-]+)", own)


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_documents_name_commands_and_options_that_exist(path):
    for name, options in commands_in((CHECKOUT / path).read_text()):
        if name in OTHER_NAMES and not options:
            continue  # an example of a suggestion, such as `tej rm`
        command = command_line.get_command(None, name)
        assert command is not None, f"tej {name}"
        known = {
            word
            for parameter in command.params
            for word in [*parameter.opts, *parameter.secondary_opts]
        }
        unknown = set(options) - known - {"--help"}
        assert unknown == set(), f"tej {name} {options}"


def anchors(path):
    """Return the anchors of a page, made from its headings as the web sites do."""
    lines = re.sub(r"```.*?```", "", path.read_text(), flags=re.S).splitlines()
    found = set()
    for line in lines:
        if line.startswith("#"):
            words = re.sub(r"[`*]|\[|\]\([^)]*\)", "", line.lstrip("# ")).lower()
            found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_between_documents_resolve(path):
    path = CHECKOUT / path
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_each_table_row_is_complete(path):
    text = re.sub(r"^```.*?^```", "", (CHECKOUT / path).read_text(), flags=re.M | re.S)
    for table in re.findall(r"(?:^\|.*\n)+(?:^\S.*\n)?", text, re.M):
        columns = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert len(set(columns)) == 1, table


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_python_in_documents_compiles(path):
    text = (CHECKOUT / path).read_text()
    fenced = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    indented = [block for block in indented_blocks(text) if "import tej\n" in block]
    for code in [*fenced, *map(textwrap.dedent, indented)]:
        if code.splitlines()[-1].startswith(
            "@"
        ):  # The code is a decorator without a function.
            code += "def decorated(): ..."
        compile(code, "<code>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_navigation_of_the_site_names_existing_pages():
    pages = re.findall(r": ([\w/-]+\.md)$", (CHECKOUT / "mkdocs.yml").read_text(), re.M)
    made = {"index.md", "changes.md", "reference/help.md", "reference/python.md"}
    docs = CHECKOUT / "docs"
    found = {path.relative_to(docs).as_posix() for path in docs.glob("**/*.md")}
    assert set(pages) - found == made
    assert len(pages) == len(set(pages)) > 30


def test_troubleshooting_quotes_messages_of_tej():
    sources = [
        path.read_text()
        for path in (CHECKOUT / "tej").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    # The parts of a message may be on several lines of the source.
    source = re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources)).replace("`", "")
    source = re.sub(r"[\"']\s*\n\s*f?[\"']", "", source)
    page = (CHECKOUT / "docs" / "troubleshooting.md").read_text()
    quoted = [
        words
        for line in page.splitlines()
        for words in re.findall(r"`([^`]+)`", line.split(" | ")[0])
        if line.startswith("| `")
    ]
    composed = {"processes left"}
    of_programs = {
        *("exit code 126", "exit code 127", "module: not found", "conda: not found"),
        "No space left on device",
    }
    unknown = {words for words in quoted if words not in source}
    assert len(quoted) > 30
    assert unknown == composed | of_programs


def test_fast_tests_exist():
    script = (CHECKOUT / "scripts" / "test").read_text()
    (words,) = re.findall(r'^fast="([^"]*)"', script, re.MULTILINE)
    assert [path for path in words.split() if not (CHECKOUT / path).exists()] == []
