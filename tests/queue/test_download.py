"""Downloads: complete files, in the right directory, and in no other directory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import Gate, wait_until, wait_until_ended
from servers.proxy import Proxy
from servers.sshd import Sshd

import tej
from tej import Retries
from tej.destination import Destination
from tej.transport import open_transport
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND

Make = Callable[..., Path]

FILES = {
    "results.csv": "a,b\n",
    "plots/one.png": "ONE",
    "plots/two.png": "TWO",
    "plots/notes.txt": "notes",
    "output/deep/log.txt": "log",
    "two words.txt": "two",
    "-rf": "dash",
    "new\nline": "line",
    "it's": "quote",
    "[x]": "brackets",
    "x": "one letter",
    "star*": "star",
    "back\\slash": "slash",
    ".hidden/.file": "hidden",
    "café ✓": "utf",
    os.fsdecode(b"latin\xe9"): "latin",
}


@pytest.fixture
def stored(queue: tej.RemoteQueue, job: Make) -> str:
    """Return a job with files of all kinds."""
    directory = job("true", FILES)
    (directory / "empty").mkdir()
    (directory / "empty.txt").touch()
    job_id = queue.submit("stored", directory)
    wait_until_ended(queue, job_id)
    return job_id


@pytest.fixture
def stage(queue: tej.RemoteQueue, stored: str) -> Path:
    return Path(queue.status(stored).directory)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tree(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()
    }


def test_file_with_any_name_is_fetched(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    for number, (name, content) in enumerate(FILES.items()):
        own = out / str(number)
        assert queue.download(stored, name, directory=own) == [own / name]
        assert (own / name).read_text() == content
        assert tree(own) == {name}


def test_file_in_subdirectory_keeps_its_path(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    queue.download(stored, ["output/deep/log.txt", "results.csv"], directory=out)
    assert tree(out) == {"output/deep/log.txt", "results.csv"}


def test_files_go_to_current_directory_by_default(
    queue: tej.RemoteQueue, stored: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir()
    monkeypatch.chdir(out)
    assert queue.download(stored, "plots/one.png") == [Path("plots/one.png")]
    assert tree(out) == {"plots/one.png"}


def test_directory_is_fetched_recursively(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    queue.download(stored, ["plots", "empty", ".hidden/"], directory=out)
    assert tree(out) == {
        "plots/one.png",
        "plots/two.png",
        "plots/notes.txt",
        ".hidden/.file",
    }
    assert (out / "empty").is_dir()


def test_dot_fetches_the_whole_stage(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    queue.download(stored, ".", directory=out)
    assert tree(out) == {*FILES, "start.sh", "_stdout", "_stderr", "empty.txt"}
    assert (out / "empty").is_dir()


PATTERNS = {
    "plots/*.png": {"plots/one.png", "plots/two.png"},
    "*/*.png": {"plots/one.png", "plots/two.png"},
    "plots/[ot]*.png": {"plots/one.png", "plots/two.png"},
    "plots/t?o.png": {"plots/two.png"},
    "*.csv": {"results.csv"},
    "two*": {"two words.txt"},
    "_std*": {"_stdout", "_stderr"},
    "p*": {"plots/one.png", "plots/two.png", "plots/notes.txt"},
    ".h*": {".hidden/.file"},
    "./plots//one*": {"plots/one.png"},
}


def test_pattern_matches_as_in_the_shell(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    for number, (pattern, expected) in enumerate(PATTERNS.items()):
        own = out / str(number)
        queue.download(stored, pattern, directory=own)
        assert tree(own) == expected, pattern


def test_missing_file_is_named_and_nothing_written(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    for name in ("absent", "absent/deeper", "*.absent", "plots/*.csv", "results.csv/x"):
        with pytest.raises(tej.DownloadFailed) as raised:
            queue.download(stored, ["results.csv", name], directory=out)
        assert f"There is no '{name}' in job 'stored'" in str(raised.value)
        assert not out.exists() or tree(out) == set()


def test_all_missing_files_are_in_one_error(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    names = ["absent", tej.OptionalFile("optional"), "*.absent"]
    with pytest.raises(tej.DownloadFailed) as raised:
        queue.download(stored, names, directory=out)
    for name in names:
        assert f"There is no '{name}' in job 'stored'" in str(raised.value)


def test_optional_files_may_be_missing(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    optional = [tej.OptionalFile(one) for one in ("absent", "plots/*.png", "*.absent")]
    wanted = {stored: ["results.csv", *optional]}
    done = queue.download_many(wanted, directory=out)[stored]
    assert done.error is None
    assert len(done.files) == 3
    assert queue.download(stored, optional[::2], directory=out) == []
    with pytest.raises(tej.JobNotFound):
        queue.download("absent", optional, directory=out)


def test_empty_request_fetches_no_file(queue: tej.RemoteQueue, stored: str) -> None:
    assert queue.download(stored, []) == []


def test_download_from_missing_job_is_an_error(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    with pytest.raises(tej.JobNotFound, match="No job 'absent'"):
        queue.download("absent", "x", directory=out)


# Target directory


def test_flatten_drops_directories_of_the_path(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    queue.download(
        stored,
        ["output/deep/log.txt", "plots/*.png", "results.csv"],
        directory=out,
        flatten=True,
    )
    assert tree(out) == {"log.txt", "one.png", "two.png", "results.csv"}


def test_flatten_keeps_paths_below_requested_directory(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    queue.download(stored, ["output/deep", "plots"], directory=out, flatten=True)
    assert tree(out) == {
        "deep/log.txt",
        "plots/one.png",
        "plots/two.png",
        "plots/notes.txt",
    }


def test_flatten_never_overwrites_another_fetched_file(
    queue: tej.RemoteQueue, job: Make, out: Path
) -> None:
    queue.submit("twins", job("true", {"a/r.txt": "A", "b/r.txt": "B"}))
    with pytest.raises(tej.DownloadFailed, match=r"r\.txt"):
        queue.download("twins", ["a/r.txt", "b/r.txt"], directory=out, flatten=True)


def test_destination_is_the_new_file_name(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    out.mkdir()
    target = out / "renamed.csv"
    assert queue.download(stored, "results.csv", destination=target) == [target]
    assert target.read_text() == "a,b\n"
    assert tree(out) == {"renamed.csv"}


def test_destination_may_be_existing_directory(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    out.mkdir()
    queue.download(stored, "plots/one.png", destination=out)
    assert tree(out) == {"one.png"}


def test_destination_renames_a_directory(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    queue.download(stored, "plots", destination=out)
    assert tree(out) == {"one.png", "two.png", "notes.txt"}


def test_destination_needs_exactly_one_file(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    with pytest.raises(ValueError, match="did you mean to use 'directory'"):
        queue.download(stored, ["results.csv", "x"], destination=out)
    with pytest.raises(tej.DownloadFailed, match="more than one file"):
        queue.download(stored, "plots/*.png", destination=out)
    with pytest.raises(TypeError, match="Only use one"):
        queue.download(stored, "x", destination=out, directory=out)


def test_directory_needs_recursive(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    with pytest.raises(tej.DownloadFailed, match="'plots' is a directory"):
        queue.download(stored, "plots", directory=out, recursive=False)
    queue.download(stored, "plots/one.png", directory=out, recursive=False)
    assert tree(out) == {"plots/one.png"}


def test_pattern_without_recursive_finds_files(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    queue.download(stored, "plots/*.png", directory=out, recursive=False)
    assert tree(out) == {"plots/one.png", "plots/two.png"}


def test_existing_file_is_replaced(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    out.mkdir()
    (out / "results.csv").write_text("old and longer")
    (out / "results.csv").chmod(0o444)
    queue.download(stored, "results.csv", directory=out)
    assert (out / "results.csv").read_text() == "a,b\n"


def test_executable_bits_and_times_are_kept(
    queue: tej.RemoteQueue, stored: str, stage: Path, out: Path
) -> None:
    os.utime(stage / "results.csv", (1_000_000_000, 1_234_567_890))
    queue.download(stored, ["start.sh", "results.csv"], directory=out)
    assert os.access(out / "start.sh", os.X_OK)
    assert not os.access(out / "results.csv", os.X_OK)
    assert (out / "results.csv").stat().st_mtime == 1_234_567_890


# Links


def test_requested_link_is_followed_nested_link_kept(
    queue: tej.RemoteQueue, stored: str, stage: Path, out: Path
) -> None:
    (stage / "latest").symlink_to("results.csv")
    (stage / "pictures").symlink_to("plots")
    (stage / "plots" / "best.png").symlink_to("one.png")
    queue.download(stored, ["latest", "plots"], directory=out)
    assert not (out / "latest").is_symlink()
    assert (out / "latest").read_text() == "a,b\n"
    assert os.readlink(out / "plots" / "best.png") == "one.png"
    queue.download(stored, "pictures", directory=out / "second")
    assert (out / "second" / "pictures" / "two.png").read_text() == "TWO"


def test_hard_links_become_separate_files(
    queue: tej.RemoteQueue, stored: str, stage: Path, out: Path
) -> None:
    (stage / "plots" / "same").hardlink_to(stage / "plots" / "one.png")
    (stage / "same too").hardlink_to(stage / "plots" / "one.png")
    queue.download(stored, ["plots", "same too"], directory=out)
    for name in ("plots/one.png", "plots/same", "same too"):
        assert (out / name).read_text() == "ONE"
    assert (out / "plots" / "same").stat().st_nlink == 1


@pytest.mark.parametrize(
    ("stored_as", "asked_for"),
    [("re\u0301sultat", "r\u00e9sultat"), ("r\u00e9sultat", "re\u0301sultat")],
)
def test_name_is_found_in_other_unicode_form(
    local_queue: tej.RemoteQueue, job: Make, out: Path, stored_as: str, asked_for: str
) -> None:
    local_queue.submit("forms", job("true", {stored_as: "x", "plain": "y"}))
    local_queue.download("forms", ["plain", asked_for], directory=out)
    assert tree(out) == {stored_as, "plain"}


# Refused names


OUTSIDE = ("../spec", "..", "/etc/hostname", "plots/../../spec", "a/../../b", "", "a\0")


def test_name_outside_the_job_is_refused(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    for name in OUTSIDE:
        with pytest.raises(tej.DownloadFailed):
            queue.download(stored, name, directory=out)
        assert not out.exists()


def test_link_out_of_the_job_is_refused(
    queue: tej.RemoteQueue, stored: str, stage: Path, out: Path
) -> None:
    for aim in ("/etc/hostname", "../spec", "../../../version", "/etc"):
        (stage / "way out").symlink_to(aim)
        for name in ("way out", "way*"):
            with pytest.raises(
                tej.DownloadFailed, match="'way out' points outside the directory"
            ):
                queue.download(stored, name, directory=out)
        (stage / "way out").unlink()


def test_directory_behind_outside_link_is_refused(
    queue: tej.RemoteQueue, stored: str, stage: Path, out: Path
) -> None:
    (stage / "etc").symlink_to("/etc")
    with pytest.raises(tej.DownloadFailed, match="points outside the directory"):
        queue.download(stored, "etc/hostname", directory=out)
    with pytest.raises(tej.DownloadFailed, match="points outside the directory"):
        queue.download(stored, "etc/host*", directory=out)


def test_dangling_link_is_named(
    queue: tej.RemoteQueue, stored: str, stage: Path, out: Path
) -> None:
    (stage / "dangling").symlink_to("nowhere")
    (stage / "circle").symlink_to("circle")
    for name in ("dangling", "circle"):
        with pytest.raises(
            tej.DownloadFailed, match=f"'{name}' in job 'stored' is a broken link"
        ):
            queue.download(stored, name, directory=out)


def test_nested_link_out_of_job_is_skipped(
    queue: tej.RemoteQueue,
    stored: str,
    stage: Path,
    out: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    aims = {"trap": "/etc/passwd", "other": "../../../../etc/passwd"}
    for name, aim in aims.items():
        (stage / "plots" / name).symlink_to(aim)
    queue.download(stored, "plots", directory=out)
    for name, aim in aims.items():
        assert f"{name}' is a link to '{aim}', which is outside" in caplog.text
        assert not (out / "plots" / name).is_symlink()
    assert tree(out) == {name for name in FILES if name.startswith("plots/")}


def test_link_out_of_target_is_not_followed(
    queue: tej.RemoteQueue, stored: str, out: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / "plots").symlink_to(elsewhere)
    (out / "output").symlink_to(tmp_path / "nowhere yet")
    for name in ("plots/one.png", "output/deep/log.txt"):
        with pytest.raises(tej.DownloadFailed, match="would be outside "):
            queue.download(stored, name, directory=out)
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "nowhere yet").exists()


def test_link_with_files_name_is_replaced(
    queue: tej.RemoteQueue, stored: str, out: Path, tmp_path: Path
) -> None:
    out.mkdir()
    (tmp_path / "precious").write_text("precious")
    (out / "results.csv").symlink_to(tmp_path / "precious")
    queue.download(stored, "results.csv", directory=out)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (out / "results.csv").is_symlink()


def test_pipe_is_skipped_and_named(
    queue: tej.RemoteQueue,
    stored: str,
    stage: Path,
    out: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    os.mkfifo(stage / "plots" / "pipe")
    queue.download(stored, "plots", directory=out)
    assert "pipe' is neither a file nor a directory" in caplog.text
    assert tree(out) == {name for name in FILES if name.startswith("plots/")}


def test_unwritable_target_is_named(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    out.write_text("a file, not a directory")
    with pytest.raises(tej.DownloadFailed, match="cannot be written"):
        queue.download(stored, "results.csv", directory=out)


def test_directory_with_files_name_is_kept(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    (out / "results.csv" / "mine").mkdir(parents=True)
    with pytest.raises(tej.DownloadFailed, match=r"results\.csv' cannot be written"):
        queue.download(stored, "results.csv", directory=out)
    assert (out / "results.csv" / "mine").is_dir()


# Running jobs and lost connections


def test_output_of_running_job_can_be_fetched(
    queue: tej.RemoteQueue, waiting: str, out: Path
) -> None:
    stage = Path(queue.status(waiting).directory)
    wait_until(lambda: (stage / "_stdout").read_text(), "the job has begun")
    queue.download(waiting, "_stdout", directory=out)
    assert (out / "_stdout").read_text() == "begun\n"


def test_growing_file_is_fetched_from_its_beginning(
    queue: tej.RemoteQueue, job: Make, gate: Gate, out: Path
) -> None:
    script = f"while [ ! -e '{gate.path}' ]; do echo line; done"
    queue.submit("talker", job(script))
    stage = Path(queue.status("talker").directory)
    wait_until(
        lambda: (stage / "_stdout").stat().st_size > 100_000, "the job has printed much"
    )
    try:
        for _ in range(5):
            queue.download("talker", "_stdout", directory=out)
            assert (out / "_stdout").read_bytes().startswith(b"line\nline\n")
    finally:
        gate.open()


def test_many_hidden_files_are_listed(local_queue: tej.RemoteQueue, job: Make) -> None:
    """The shell's pattern for visible files matches nothing, and stays in the list."""
    local_queue.submit("a", job())
    folder = Path(local_queue.status("a").directory, "many")
    folder.mkdir()
    names = [f".{number:03}" for number in range(450)]
    for name in names:
        (folder / name).touch()
    assert [file.name for file in local_queue.files("a", "many")] == names


def test_files_beyond_the_argument_limit_are_found(
    job: Make, tmp_path: Path, out: Path
) -> None:
    """A small limit of the stack limits the arguments of a program to 128 KB."""
    transport = LocalTransport(("/bin/sh", "-c", f"ulimit -s 300; {COMMAND}"))
    path = str(tmp_path / "small queue")
    queue = tej.RemoteQueue("local:", path, "default", transport=transport)
    names = [f"{'part ' * 20}{number:04}" for number in range(1500)]
    files = {f"many/{name}": "" for name in names}
    queue.submit("a", job("true", files))
    wait_until_ended(queue, "a")
    assert [file.name for file in queue.files("a", "many")] == names
    written = queue.download("a", "many/*", directory=out)
    assert [path.name for path in written] == names


def test_large_file_is_fetched_unchanged(
    queue: tej.RemoteQueue, stored: str, stage: Path, out: Path
) -> None:
    content = os.urandom(8_000_003)
    (stage / "large").write_bytes(content)
    pieces: list[int] = []
    queue.download(stored, "large", directory=out, progress=pieces.append)
    assert (out / "large").read_bytes() == content
    assert sum(pieces) > 8_000_003


def test_threads_fetch_over_one_connection(
    queue: tej.RemoteQueue, stored: str, out: Path
) -> None:
    errors = []

    def fetch(number: int) -> None:
        try:
            queue.download(stored, ".", directory=out / str(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({frozenset(tree(out / str(number))) for number in range(12)}) == 1


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    with Proxy(sshd.address, sshd.port) as running:
        names = sshd.known_hosts.read_text()
        with sshd.known_hosts.open("a") as known_hosts:
            known_hosts.write(names.replace(str(sshd.port), str(running.port)))
        yield running


@pytest.fixture
def through(
    sshd: Sshd, proxy: Proxy, tmp_path: Path
) -> Iterator[Callable[..., tej.RemoteQueue]]:
    """Return a queue on the shared sshd, behind a proxy whose connections can be cut."""
    destination = f"{sshd.user}@{sshd.address}:{proxy.port}"
    transport = open_transport(
        Destination.parse(destination), config_file=sshd.config(tmp_path)
    )

    def queue(path: Path, **options: object) -> tej.RemoteQueue:
        return tej.RemoteQueue(destination, path, transport=transport, **options)  # type: ignore[arg-type]

    with transport:
        yield queue


def test_cut_download_leaves_no_partial_file(
    local_queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    out: Path,
    through: Callable[..., tej.RemoteQueue],
    proxy: Proxy,
) -> None:
    local_queue.submit("large", job("true", {"a": "small", "large": b"x" * 5_000_000}))
    queue = through(queue_path, retries=Retries(limit=1))
    assert queue.status("large")
    proxy.cut_after(down=2_000_000)
    with pytest.raises(tej.ConnectionFailed):
        queue.download("large", ["a", "large"], directory=out)
    assert tree(out) <= {"a"}
    assert not (out / "large").exists()


def test_cut_download_is_requested_again(
    local_queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    out: Path,
    through: Callable[..., tej.RemoteQueue],
    proxy: Proxy,
) -> None:
    content = os.urandom(5_000_000)
    local_queue.submit("large", job("true", {"a": "small", "large": content}))
    queue = through(queue_path, retries=Retries(first=0.05))
    assert queue.status("large")
    proxy.cut_after(down=2_000_000)
    queue.download("large", ["a", "large"], directory=out)
    assert (out / "large").read_bytes() == content
    assert tree(out) == {"a", "large"}


def test_cut_upload_is_repeated_and_starts_once(
    local_queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    tmp_path: Path,
    through: Callable[..., tej.RemoteQueue],
    proxy: Proxy,
) -> None:
    local_queue.setup()
    runs = tmp_path / "runs"
    directory = job(f"echo run >>'{runs}'", {"large": os.urandom(3_000_000)})
    queue = through(queue_path, retries=Retries(first=0.05))
    queue.jobs()
    proxy.cut_after(up=1_500_000)
    assert queue.submit("cut", directory) == "cut"
    wait_until_ended(queue, "cut")
    assert queue.status("cut").succeeded
    assert runs.read_text() == "run\n"
    wait_until(
        lambda: not list(queue_path.glob("incoming/*")), "the cut upload is collected"
    )


def test_failed_upload_makes_no_job(
    local_queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    through: Callable[..., tej.RemoteQueue],
    proxy: Proxy,
) -> None:
    local_queue.setup()
    directory = job("true", {"large": os.urandom(3_000_000)})
    queue = through(queue_path, retries=Retries(limit=1))
    queue.jobs()
    proxy.cut_after(up=1_500_000)
    with pytest.raises(tej.ConnectionFailed):
        queue.submit("cut", directory)
    assert local_queue.jobs() == []
    with pytest.raises(tej.JobNotFound):
        local_queue.status("cut")
    local_queue.submit("cut", directory)
    assert local_queue.status("cut")
