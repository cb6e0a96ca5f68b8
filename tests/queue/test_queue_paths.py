"""Paths of queues: names, tildes, links, foreign directories and `setup`."""

from __future__ import annotations

import getpass
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from jobs import Gate, wait_until
from servers.sshd import Sshd
from servers.users import Users

import tej
from tej.cli.dependency_options import find_needed
from tej.cli.interrupt import find_submitted
from tej.cli.run import free_id
from tej.queue.dry_run import plan_on_server, read_job

if TYPE_CHECKING:
    from tests.queue.conftest import Server

Make = Callable[..., Path]
Watch = Callable[[Path], Path]

ODD_NAMES = [
    "two  blanks",
    " leading and trailing ",
    "it's",
    'a "quote"',
    "back\\slash\\n",
    "dollar $HOME `id` $(id)",
    "new\nline",
    "-rf",
    "*?[a]",
    "a;b&c|d<e>f",
    "#hash%percent!",
    "café ✓",
    "%s\\0",
    "~tilde",
]
LINE = str(Path(*(name for name in ODD_NAMES if "\n" not in name)))
"""A path that consists of all odd names without a newline."""


def snapshot(folder: Path) -> dict[str, object]:
    """Return all files of a directory with their contents."""
    return {
        str(path.relative_to(folder)): (
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
        )
        for path in sorted(folder.rglob("*"))
    }


def runs_a_job(queue: tej.RemoteQueue, directory: Path) -> PurePosixPath:
    """Run a job in a queue from submission to deletion; return its stage."""
    job_id = queue.submit(None, directory)
    wait_until(lambda: queue.status(job_id).state.final, "the job has ended")
    status = queue.status(job_id)
    assert status.succeeded
    assert [found.job_id for found in queue.jobs()] == [job_id]
    return status.directory


# Paths


@pytest.mark.parametrize(
    "name",
    [str(Path(*ODD_NAMES)), " leading and trailing ", "new\nline"],
    ids=["all names", "blanks", "newline"],
)
def test_queue_may_have_any_name(
    server: Server, tmp_path: Path, job: Make, watch: Watch, name: str
) -> None:
    path = watch(tmp_path / "odd" / name)
    queue = server.queue(path)
    directory = job('pwd -P; printf "%s\\n" "$TEJ_QUEUE"')
    stage = runs_a_job(queue, directory)
    assert stage.parts[: len(path.parts)] == path.parts
    output = Path(stage, "_stdout").read_text()
    assert output == f"{stage}\n{path}\n"
    (job_id,) = (status.job_id for status in queue.jobs())
    (fetched,) = queue.download(job_id, "_stdout", directory=tmp_path / "out")
    assert fetched.read_text() == output
    queue.kill(job_id)
    queue.delete(job_id)
    assert queue.cleanup()
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_queue_name_need_not_be_utf8(
    server: Server, tmp_path: Path, job: Make, watch: Watch
) -> None:
    path = watch(tmp_path / os.fsdecode(b"caf\xe9 \xff"))
    assert runs_a_job(server.queue(path), job("true")) == PurePosixPath(
        path, "jobs", os.listdir(path / "jobs")[0], "stage"
    )


@pytest.mark.parametrize("form", ["relative", "relative/deeper", "~/tilde", "~/a b/c"])
def test_relative_path_and_tilde_start_at_home(
    server: Server, job: Make, watch: Watch, form: str
) -> None:
    # The home directory of the shared sshd outlives the test, so each test uses its own
    # directory there.
    own = f"{next(COUNTER)}"
    text = f"~/{own}/{form[2:]}" if form.startswith("~/") else f"{own}/{form}"
    path = watch(server.home / own / form.removeprefix("~/"))
    stage = runs_a_job(server.queue(text), job("true"))
    assert stage == PurePosixPath(path, "jobs", os.listdir(path / "jobs")[0], "stage")


COUNTER = itertools.count()


def test_default_queue_is_dot_tej_at_home(
    local_server: Server, job: Make, watch: Watch
) -> None:
    watch(local_server.home / ".tej")
    assert runs_a_job(
        tej.RemoteQueue("local:", setup_runtime="default"), job("true")
    ).is_relative_to(local_server.home / ".tej")


def test_tilde_with_name_is_that_users_home(
    server: Server, tmp_path: Path, job: Make, watch: Watch
) -> None:
    path = watch(tmp_path / "queue")
    home = Path(f"~{getpass.getuser()}").expanduser()
    up = "/".join([".."] * (len(home.parts) - 1))
    queue = server.queue(f"~{getpass.getuser()}/{up}{path}")
    assert runs_a_job(queue, job("true")).is_relative_to(path)
    assert not Path(f"./~{getpass.getuser()}").exists()


def test_tilde_paths_of_setup_and_queue_agree(
    server: Server, users: Users, job: Make, watch: Watch
) -> None:
    user = users.add()
    path = watch(user.home / "queue")
    assert runs_a_job(server.queue(f"~{user.name}/queue"), job("true")).is_relative_to(
        path
    )


def test_missing_user_is_named(server: Server) -> None:
    with pytest.raises(tej.Error, match="There is no user 'nobody-by-that-name'"):
        server.queue("~nobody-by-that-name/queue").setup()


@pytest.mark.parametrize("text", ["~$(touch pwned)", "~`id`/x", "~a b/x", "~;id", "~'"])
def test_text_after_tilde_is_never_executed(server: Server, text: str) -> None:
    with pytest.raises(tej.Error, match="does not begin with a user's name"):
        server.queue(text).setup()
    assert not (server.home / "pwned").exists()


@pytest.mark.parametrize("path", ["/", "/dev/null", "/dev/null/queue", "/proc/queue"])
def test_invalid_queue_path_is_refused(server: Server, path: str) -> None:
    with pytest.raises(tej.Error):
        server.queue(path).setup()
    with pytest.raises(tej.Error):
        server.queue(path).setup(force=2)


def test_symbolic_link_in_path_is_followed(
    server: Server, tmp_path: Path, job: Make, watch: Watch
) -> None:
    path = watch(tmp_path / "real" / "queue")
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    queue = server.queue(tmp_path / "alias" / "queue")
    assert runs_a_job(queue, job("true")).parent.name
    assert path.is_dir()


def test_too_long_queue_path_is_refused(
    local_server: Server, tmp_path: Path, job: Make, watch: Watch
) -> None:
    limit = os.pathconf("/", "PC_PATH_MAX") - 450
    name = "/".join(["d" * 200] * (limit // 201))
    path = f"{tmp_path}/{name}"[: limit - 1].rstrip("/")
    path += "e" * (limit - len(path))
    assert runs_a_job(local_server.queue(watch(Path(path))), job("true"))
    with pytest.raises(tej.Error, match=f"has {limit + 1} bytes, and at most {limit}"):
        local_server.queue(f"{path}e").submit("a", job("true"))
    assert not Path(f"{path}e").exists()


# Links


def link(path: Path, to: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"tejdir: " + os.fsencode(str(to)) + b"\n")
    return path


def test_link_file_leads_to_queue(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, ended: str, tmp_path: Path
) -> None:
    through = server.queue(link(tmp_path / "link", queue_path))
    assert through.status(ended).directory.is_relative_to(queue_path)
    through.delete(ended)
    assert queue.jobs() == []


def test_cleanup_removes_whole_chain_of_links(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, ended: str, tmp_path: Path
) -> None:
    links = [tmp_path / "links" / f"link {number}" for number in range(5)]
    aim: Path = queue_path
    for path in links:
        link(path, aim)
        aim = path
    through = server.queue(aim)
    assert through.status(ended).succeeded
    assert through.cleanup()
    assert not queue_path.exists()
    assert [path for path in links if path.exists()] == []


@pytest.mark.parametrize(
    "name", [LINE, " leading and trailing "], ids=["all names", "blanks"]
)
def test_link_target_may_be_any_line(
    server: Server, tmp_path: Path, job: Make, watch: Watch, name: str
) -> None:
    path = watch(tmp_path / "somewhere" / name)
    server.queue(path).setup()
    place = link(tmp_path / f"link to {name}", path)
    through = server.queue(place)
    assert runs_a_job(through, job("true")).is_relative_to(path)
    through.cleanup()
    assert not path.exists()
    assert not place.exists()


def test_relative_link_starts_at_its_directory(
    server: Server, queue_path: Path, queue: tej.RemoteQueue, ended: str, tmp_path: Path
) -> None:
    through = server.queue(link(tmp_path / "deep" / "er" / "link", "../../queue"))
    assert through.status(ended).succeeded


def test_link_target_may_begin_with_tilde(
    server: Server, tmp_path: Path, job: Make
) -> None:
    queue = server.queue(link(tmp_path / "link", f"~/linked {next(COUNTER)}"))
    with pytest.raises(tej.QueueLinkBroken, match="does not exist"):
        queue.submit(None, job("true"))


def test_broken_link_is_named_and_creates_nothing(
    server: Server, tmp_path: Path, job: Make
) -> None:
    aim = tmp_path / "not there"
    path = link(tmp_path / "link", aim)
    queue = server.queue(path)
    spec = tej.JobSpec(job("true"), job_id="a")
    needed = read_job(queue.connection, spec, is_signed=True)
    for ask in (
        queue.jobs,
        queue.setup,
        queue.cleanup,
        lambda: queue.submit("a", job("true")),
        lambda: queue.status("a"),
        lambda: queue.download("a", "b"),
        lambda: queue.ensure_graph([tej.JobSpec(files={}, after=["no-job"])]),
        lambda: plan_on_server(queue.connection, needed, is_new=False),
        lambda: free_id(queue, tej.JobSpec(job("true"))),
        lambda: find_needed(queue, ("no-job",), {}),
        lambda: find_submitted(queue.job("a")),
    ):
        with pytest.raises((tej.QueueLinkBroken, tej.QueueExists)) as raised:
            ask()
        assert str(path) in str(raised.value)
    assert not aim.exists()
    assert path.exists()


def test_cycle_of_links_is_an_error(server: Server, tmp_path: Path, job: Make) -> None:
    names = ["one", "two", "three"]
    for name, aim in zip(names, [*names[1:], names[0]], strict=True):
        link(tmp_path / name, tmp_path / aim)
    queue = server.queue(tmp_path / "one")
    for ask in (queue.jobs, queue.cleanup, lambda: queue.submit("a", job("true"))):
        with pytest.raises(tej.QueueLinkBroken, match="form a cycle"):
            ask()
    assert all((tmp_path / name).is_file() for name in names)


@pytest.mark.parametrize(
    "content", [b"", b"tejdir:", b"tejdir: ", b"\0\xff", b"notes\n"]
)
def test_ordinary_file_is_refused_and_kept(
    server: Server, tmp_path: Path, job: Make, content: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    queue = server.queue(path)
    for ask in (
        queue.jobs,
        queue.setup,
        queue.cleanup,
        lambda: queue.setup(force=2),
        lambda: queue.submit("a", job("true")),
    ):
        with pytest.raises(tej.QueueExists, match=r"not a link to a queue"):
            ask()
    assert path.read_bytes() == content


# Foreign directories


def queue_of_tej_06(path: Path) -> None:
    """Create a queue as tej 0.6 leaves it, with a job."""
    (path / "jobs" / "old_job").mkdir(parents=True)
    (path / "commands" / "lib").mkdir(parents=True)
    (path / "version").write_text("0.2\ndefault\n")
    (path / "commands" / "status").write_text("#!/bin/sh\n")
    (path / "jobs" / "old_job" / "status").write_text("finished 0\n")
    (path / "jobs" / "old_job" / "results.txt").write_text("precious\n")


def queue_of_a_later_tej(path: Path) -> None:
    (path / "jobs" / "new_job").mkdir(parents=True)
    (path / "version").write_text("tej 9\nruntime quantum\nscripts abc 9.0\n")


def queue_of_who_knows_whom(path: Path) -> None:
    path.mkdir()
    (path / "version").write_text("1.4.2\n")


def somebodys_directory(path: Path) -> None:
    (path / "thesis").mkdir(parents=True)
    (path / "thesis" / "chapter1.tex").write_text("In the beginning")


def directory_with_a_hidden_file(path: Path) -> None:
    path.mkdir()
    (path / ".bashrc").write_text("export A=b")


def directory_with_a_dangling_link(path: Path) -> None:
    path.mkdir()
    (path / "data").symlink_to("/nowhere/at/all")


def directory_with_files_named_as_tejs(path: Path) -> None:
    (path / "commands").mkdir(parents=True)
    (path / "jobs").mkdir()
    (path / "jobs" / "offers.txt").write_text("mine")


FOREIGN = {
    "0.6": (queue_of_tej_06, "queue of tej 0.2.*choose another --queue"),
    "later": (queue_of_a_later_tej, "newer tej"),
    "unknown": (queue_of_who_knows_whom, "not from tej"),
    "directory": (somebodys_directory, "not a queue of tej"),
    "hidden": (directory_with_a_hidden_file, "not a queue of tej"),
    "dangling": (directory_with_a_dangling_link, "not a queue of tej"),
    "lookalike": (directory_with_files_named_as_tejs, "not a queue of tej"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_directory_is_refused_and_unchanged(
    server: Server, tmp_path: Path, job: Make, kind: str
) -> None:
    make, words = FOREIGN[kind]
    path = tmp_path / "theirs"
    make(path)
    before = snapshot(path)
    queue = server.queue(path)
    directory = job("true")
    for ask in (
        queue.setup,
        lambda: queue.setup(force=1),
        lambda: queue.setup(force=2),
        lambda: queue.submit("a", directory),
        queue.jobs,
        lambda: list(queue.list()),
        lambda: queue.status("old_job"),
        lambda: queue.download("old_job", "results.txt", directory=tmp_path),
        lambda: queue.kill("old_job"),
        lambda: queue.delete("old_job"),
        queue.cleanup,
        lambda: queue.cleanup(kill=True),
    ):
        with pytest.raises(tej.QueueExists, match=words):
            ask()
        assert snapshot(path) == before
    assert sorted(os.listdir(tmp_path / "theirs")) == sorted(os.listdir(path))


def test_incomplete_queue_is_completed_by_next_request(
    server: Server, queue_path: Path, queue: tej.RemoteQueue, job: Make
) -> None:
    for part in ("jobs", "incoming", "scripts"):
        (queue_path / part).mkdir(parents=True)
        (queue_path / f".version.{part}").write_text("tej 1\n")
    with pytest.raises(tej.QueueNotFound):
        queue.jobs()
    assert runs_a_job(queue, job("true"))


def test_empty_directory_becomes_a_queue(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue_path.mkdir()
    assert runs_a_job(queue, job("true"))


# setup


def test_setup_creates_queue_and_returns_path(
    queue: tej.RemoteQueue, queue_path: Path
) -> None:
    assert queue.setup() == PurePosixPath(queue_path)
    assert queue.jobs() == []
    assert (queue_path.stat().st_mode & 0o777) == 0o700


def test_setup_refuses_existing_queue(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    before = snapshot(queue_path)
    with pytest.raises(
        tej.QueueExists, match="already exists\nThe queue .* can be used"
    ):
        queue.setup()
    assert snapshot(queue_path) == before


def test_setup_creates_queue_and_links(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, tmp_path: Path
) -> None:
    places = [tmp_path / "links" / "one link", tmp_path / "an'other"]
    queue.setup(links=places)
    for place in places:
        assert place.read_text() == f"tejdir: {queue_path}\n"
        assert server.queue(place).jobs() == []


def test_setup_creates_links_only(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, tmp_path: Path
) -> None:
    place = tmp_path / "link"
    queue.setup(links=[str(place)], only_links=True)
    assert not queue_path.exists()
    assert place.read_text() == f"tejdir: {queue_path}\n"
    queue.setup()
    assert server.queue(place).jobs() == []


def test_setup_replaces_a_link_by_a_new_one(
    server: Server,
    queue: tej.RemoteQueue,
    queue_path: Path,
    tmp_path: Path,
    watch: Watch,
) -> None:
    place = link(tmp_path / "link", tmp_path / "old")
    queue.setup(links=[place])
    assert place.read_text() == f"tejdir: {queue_path}\n"


def test_setup_never_replaces_ordinary_file_by_link(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("precious")
    folder.mkdir()
    for place, force in itertools.product((file, folder), (0, 1, 2)):
        with pytest.raises(tej.QueueExists, match="is not a link to a queue"):
            queue.setup(links=[place], force=force, only_links=True)
    assert file.read_text() == "precious"
    assert list(folder.iterdir()) == []


def test_setup_creates_no_link_to_itself(
    queue: tej.RemoteQueue, queue_path: Path
) -> None:
    with pytest.raises(tej.QueueExists, match="itself"):
        queue.setup(links=[queue_path])
    with pytest.raises(tej.QueueExists):
        queue.setup(links=[queue_path], force=True)


def test_setup_with_force_replaces_a_queue_without_jobs(
    queue: tej.RemoteQueue, queue_path: Path
) -> None:
    queue.setup()
    (queue_path / "profile").write_text("A=b")
    queue.setup(force=True)
    assert queue.jobs() == []
    assert [path.name for path in queue_path.parent.glob("queue*")] == ["queue"]


def test_replacing_queue_with_jobs_needs_force_twice(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    before = snapshot(queue_path)
    with pytest.raises(tej.QueueExists, match="holds 1 jobs\nUse --force twice"):
        queue.setup(force=True)
    assert snapshot(queue_path) == before
    queue.setup(force=2)
    assert queue.jobs() == []
    assert [path.name for path in queue_path.parent.glob("queue*")] == ["queue"]


def test_setup_never_replaces_queue_with_running_job(
    queue: tej.RemoteQueue, waiting: str
) -> None:
    for force in (1, 2, 3):
        with pytest.raises(tej.JobStillRunning, match="still running: waiting"):
            queue.setup(force=force)
    assert queue.status(waiting).state is tej.JobState.RUNNING


def test_setup_with_force_replaces_link_not_queue(
    server: Server,
    queue: tej.RemoteQueue,
    queue_path: Path,
    ended: str,
    tmp_path: Path,
    watch: Watch,
) -> None:
    place = watch(link(tmp_path / "link", queue_path))
    through = server.queue(place)
    with pytest.raises(tej.QueueExists, match=re.escape(f"(links to {queue_path})")):
        through.setup()
    assert place.is_file()
    assert through.setup(force=True) == PurePosixPath(place)
    assert through.jobs() == []
    assert queue.status(ended).succeeded


def test_setup_with_force_replaces_broken_link(
    server: Server, tmp_path: Path, watch: Watch
) -> None:
    place = watch(link(tmp_path / "link", tmp_path / "nowhere"))
    queue = server.queue(place)
    with pytest.raises(
        tej.QueueExists, match=re.escape(f"Broken link exists at '{place}'")
    ):
        queue.setup()
    queue.setup(force=True)
    assert queue.jobs() == []


def test_unknown_runtime_is_refused_without_request() -> None:
    with pytest.raises(ValueError, match="'quantum' is unknown: use auto, default"):
        tej.RemoteQueue("host.invalid", setup_runtime="quantum")


def test_queue_of_unwanted_runtime_is_refused(
    server: Server, queue: tej.RemoteQueue, queue_path: Path, ended: str, job: Make
) -> None:
    picky = server.queue(queue_path, need_runtime=["pbs", "slurm"])
    for ask in (picky.jobs, lambda: picky.submit("a", job("true"))):
        with pytest.raises(tej.QueueExists, match="'default', but only these"):
            ask()
    allowed = server.queue(queue_path, need_runtime=["pbs", "default"])
    assert allowed.status(ended).succeeded
    assert server.queue(queue_path, need_runtime="default").status(ended).succeeded


def test_output_of_start_up_files_is_ignored(
    start_sshd: Callable[..., Sshd], tmp_path: Path, job: Make, watch: Watch
) -> None:
    from servers.users import make_noisy

    from tej.destination import Destination
    from tej.transport import open_transport

    home = tmp_path / "noisy home"
    home.mkdir()
    make_noisy(home)
    sshd = start_sshd(home=home)
    config = sshd.config(tmp_path)
    with open_transport(
        Destination.parse(sshd.destination), config_file=config
    ) as transport:
        path = watch(tmp_path / "queue")
        queue = tej.RemoteQueue(sshd.destination, path, "default", transport=transport)
        assert runs_a_job(queue, job("true"))


def test_moved_queue_keeps_its_running_job(
    local_queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
    tmp_path: Path,
    watch: Watch,
) -> None:
    """The scripts of the wrapper are missing when the job ends, so another client acts."""
    told = tmp_path / "told"
    directory = job(f"echo begun; {gate.wait}; exit 5")
    local_queue.submit("a", directory, on_end=f"echo >'{told}'")
    # Before the script runs, the shell for the script still reads the queue's scripts.
    stdout = queue_path / "jobs/a/stage/_stdout"
    wait_until(lambda: stdout.exists() and stdout.read_text(), "the script runs")
    moved = queue_path.rename(watch(tmp_path / "moved"))
    queue = tej.RemoteQueue("local:", str(moved), "default")
    assert queue.status("a").state is tej.JobState.RUNNING
    gate.open()
    assert queue.wait(["a"])["a"].exit_code == 5
    wait_until(lambda: queue.jobs() and told.exists(), "the end is reported")


def test_missing_home_is_named_and_nothing_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "not mounted"))
    before = set(Path("/").iterdir())
    for path in ("~/.tej", "queue"):
        with pytest.raises(tej.RemoteCommandFailure, match="not mounted.*cannot be"):
            tej.RemoteQueue("local:", path).setup()
    assert set(Path("/").iterdir()) == before
    elsewhere = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    elsewhere.setup()
    assert elsewhere.jobs() == []


def test_setup_with_impossible_link_creates_no_queue(
    queue: tej.RemoteQueue, queue_path: Path, server: Server
) -> None:
    home = server.home
    (home / "mine").write_text("my notes\n")
    with pytest.raises(tej.QueueExists, match="mine' exists and is not a link"):
        queue.setup(["~/link", "~/mine"])
    assert not queue_path.exists()
    assert not (home / "link").exists()
    queue.setup(["~/link"])
    assert (home / "link").read_text() == f"tejdir: {queue_path}\n"
