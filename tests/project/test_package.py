"""The built package: all files are included, and slow modules are imported late."""

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import tej
from tej.command_list import COMMANDS

CHECKOUT = Path(__file__).parents[2]
SERVER = CHECKOUT / "tej" / "server"

ADAPTERS = {path.name: path for path in CHECKOUT.glob("integrations/*/tej_*")}

# These modules are slow to import, or are optional dependencies.
LATE = ("paramiko", "rich", "prefect", "luigi", "tomllib", "tomli", "tej.config.files")


def runtime_files() -> dict[str, bytes]:
    """Return the server scripts by their paths in the distribution."""
    return {
        path.relative_to(CHECKOUT).as_posix(): path.read_bytes()
        for path in SERVER.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def build(target, source, directory):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", directory],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = directory.iterdir()
    return built


def wheel_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build("sdist", CHECKOUT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xzf", sdist, "-C", directory], check=True)
    (top,) = directory.iterdir()
    return top


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return wheel_files(build("wheel", CHECKOUT, tmp_path_factory.mktemp("wheel")))


def test_server_scripts_have_unix_line_endings():
    files = runtime_files()
    assert {PurePosixPath(name).parts[2] for name in files} >= {
        "commands",
        "lib",
        "runtimes",
    }
    assert [name for name, content in files.items() if b"\r" in content] == []


def test_wheel_contains_every_server_script(wheel):
    assert {name: wheel.get(name) for name in runtime_files()} == runtime_files()
    assert "tej/py.typed" in wheel
    assert {name.split("/")[0] for name in wheel} == {
        "tej",
        "tej_prefect",
        f"tej-{tej.__version__}.dist-info",
        f"tej-{tej.__version__}.data",
        *ADAPTERS,
    }


def test_wheel_contains_every_adapter_file(wheel):
    assert ADAPTERS
    for adapter, folder in ADAPTERS.items():
        files = {
            f"{adapter}/{path.relative_to(folder).as_posix()}": path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        assert {name: wheel.get(name) for name in files} == files


def test_wheel_has_guide_manual_pages_and_completions(wheel):
    assert wheel["tej/cli/agents.md"] == (CHECKOUT / "docs/agents.md").read_bytes()
    share = f"tej-{tej.__version__}.data/data/share"
    names = [name for group in COMMANDS.values() for name in group]
    for page in ["tej", *(f"tej-{name}" for name in names)]:
        assert b".SH DESCRIPTION\n" in wheel[f"{share}/man/man1/{page}.1"]
    run = wheel[f"{share}/man/man1/tej-run.1"].decode()
    assert "\\fB\\-\\-walltime TIME\\fR\nTime limit: " in run
    assert b"TEJ_COMP_LINE" in wheel[f"{share}/bash-completion/completions/tej"]


def test_sdist_contains_every_server_script(unpacked):
    found = {
        name: (unpacked / name).read_bytes()
        for name in runtime_files()
        if (unpacked / name).is_file()
    }
    assert found == runtime_files()
    assert (unpacked / "LICENSE").is_file()


def test_sdist_builds_the_same_wheel(unpacked, wheel, tmp_path):
    assert wheel_files(build("wheel", unpacked, tmp_path)) == wheel


@pytest.mark.parametrize("statement", ["import tej", "import tej.cli"])
def test_slow_modules_are_imported_on_use(statement):
    code = f"import sys; {statement}; print(*set(sys.modules) & set({LATE!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def modules_after(statement, *arguments):
    """Run a command of tej; return its exit status and the modules imported then."""
    # Modules of coverage, or of an editable installation, are imported before tej.
    code = f"""
import sys
before = set(sys.modules)
{statement}
sys.argv = ["tej", *{arguments!r}]
status = 0
try:
    from tej.__main__ import main
    main()
except SystemExit as end:
    status = end.code
print(status, *sorted(set(sys.modules) - before), file=sys.stderr)
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    status, *modules = done.stderr.splitlines()[-1].split()
    return int(status), set(modules)


def test_help_imports_no_slow_module():
    status, modules = modules_after("", "--help")
    assert status == 0
    assert not modules & {*LATE, "click", "typing", "logging", "pathlib", "shutil"}
    found = {name for name in modules if name.split(".")[0] == "tej"}
    assert found == {"tej", "tej.__main__", "tej.command_list"}


def test_status_imports_no_slow_module(tmp_path):
    arguments = ("status", "local:", "--queue", str(tmp_path / "absent"), "--id=a")
    status, modules = modules_after("import tej.transport.openssh", *arguments)
    assert status == 1, "there is no queue, and no job"
    late = {*LATE, "html", "json", "random", "secrets", "shutil", "ssl", "tempfile"}
    late -= {"tej.config.files"}  # reads the profile
    late |= {f"tej.job.{name}" for name in ("job_list", "resources", "spec", "table")}
    late |= {f"tej.queue.{name}" for name in ("download", "logs", "submission")}
    late |= {"tej.transport.openssh_failures", "tej.transport.ssh_config"}
    assert not modules & late


def test_missing_anyio_error_names_the_extra():
    code = "import sys; sys.modules['anyio'] = None; import tej.aio"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tej[aio]'" in done.stderr.splitlines()[-1]


def test_dunder_all_is_sorted_by_kind():
    def key(name):
        return (not name.isupper(), not name[0].isupper(), name)

    assert tej.__all__ == sorted(tej.__all__, key=key)


def test_dunder_all_has_exactly_public_names():
    # Imported submodules are attributes of the package, but not part of its public API.
    public = {
        name
        for name, value in vars(tej).items()
        if not name.startswith("_")
        and not isinstance(value, type(tej))
        and name not in {"TYPE_CHECKING", "annotations", "import_module"}
    }
    assert public - set(tej.__all__) == set()
    assert [name for name in tej.__all__ if not hasattr(tej, name)] == []
