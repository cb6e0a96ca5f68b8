"""Blocks: stored with their secrets, valid for Prefect, and able to run jobs."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Gate, wait_until
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError
from servers.sshd import Sshd, make_key, public_half

import tej
from tej_prefect import JobResult, TejDestination, TejJob, TejJobRun, TejStorage

Make = Callable[..., Path]


class TestDestinationAsPrefectWantsIt(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return TejDestination


class TestJobAsPrefectWantsIt(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return TejJob


class TestStorageAsPrefectWantsIt(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return TejStorage


@pytest.mark.parametrize("is_job", [False, True])
def test_storage_keeps_private_files(
    destination: TejDestination,
    sshd: Sshd,
    is_job: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if is_job:
        # The worker sets this variable in its jobs on the same server.
        monkeypatch.setenv("TEJ_PREFECT_ADDRESS", destination.address)
        monkeypatch.setattr(TejDestination, "get_client", None)
    storage = TejStorage(destination=destination, directory=str(tmp_path / "store"))

    async def go() -> None:
        for content in (b"first\0", b"second"):
            await storage.write_path("deep/-file", content)
            assert await storage.read_path("deep/-file") == content
        with pytest.raises(ValueError, match="no file './missing'"):
            await storage.read_path("missing")
        for path in ("../x", "/x", ""):
            with pytest.raises(ValueError, match="not below the directory"):
                await storage.write_path(path, b"")

    asyncio.run(go())
    (file,) = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert TejStorage(destination=destination, directory="~/x").directory == "x"


def test_destination_is_stored_with_its_secrets(
    prefect_server: str, destination: TejDestination, unique: str
) -> None:
    destination.save(unique)
    loaded = TejDestination.load(unique)
    assert loaded == destination
    assert loaded.private_key is not None
    assert "PRIVATE KEY" in loaded.private_key.get_secret_value()
    for text in (repr(loaded), str(loaded), repr(loaded.get_client())):
        assert "PRIVATE KEY" not in text


def test_stored_job_runs_once(
    prefect_server: str,
    destination: TejDestination,
    job: Make,
    results: Path,
    unique: str,
) -> None:
    destination.save(unique)
    TejJob(
        destination=destination,
        directory=job("echo $WORD >out.txt; echo said"),
        environment={"WORD": "hello"},
        resources=tej.Resources(cpus=1),
        results=["out.txt"],
        results_directory=results,
    ).save(unique)
    run = TejJob.load(unique).trigger()
    run.wait_for_completion()
    result = run.fetch_result()
    assert isinstance(result, JobResult)
    assert result.succeeded
    assert result.path("out.txt").read_text() == "hello\n"
    assert result.stdout == "said\n"
    assert result.directory == results / run.job_id
    # The same work is the same job for every caller.
    again = TejJob.load(unique).trigger()
    assert again.job_id == run.job_id
    assert again.found
    assert not run.found


def test_asynchronous_forms_of_all_methods(
    destination: TejDestination, job: Make, gate: Gate, results: Path
) -> None:
    async def go() -> None:
        block = TejJob(
            destination=destination,
            directory=job(f"echo begun; {gate.wait}; echo done >out"),
            results=["out"],
            results_directory=results,
        )
        run = await block.atrigger()
        waiting = asyncio.create_task(run.await_for_completion())
        while "begun" not in await run.alogs():
            await asyncio.sleep(0.05)
        assert (await run.astatus()).state == "running"
        assert not waiting.done()
        gate.open()
        await waiting
        assert (await run.afetch_result()).path("out").read_text() == "done\n"
        assert [path.name for path in await run.adownload(["out"])] == ["out"]
        assert (await run.akill()).state == "finished"
        await run.adelete()
        with pytest.raises(tej.JobNotFound):
            await run.astatus()

    asyncio.run(go())


def test_run_status_kill_and_delete(
    local: TejDestination, job: Make, gate: Gate
) -> None:
    run = TejJob(destination=local, directory=job(f"echo begun; {gate.wait}")).trigger()
    wait_until(lambda: "begun" in run.logs(), "the job has begun")
    assert run.status().state == "running"
    with pytest.raises(tej.JobStillRunning, match="wait_for_completion"):
        run.fetch_result()
    with pytest.raises(tej.JobStillRunning):
        run.delete()
    with pytest.raises(tej.WaitTimeout):
        run.wait_for_completion(timeout=0.1)
    assert run.kill().state == "killed"
    with pytest.raises(tej.JobFailed, match="killed"):
        run.fetch_result()
    run.delete()
    with pytest.raises(tej.JobNotFound):
        run.status()


def test_script_is_uploaded_with_matching_files(
    local: TejDestination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/one.txt").write_text("1\n")
    (tmp_path / "data/two.txt").write_text("2\n")
    (tmp_path / "secret.txt").write_text("not sent\n")
    monkeypatch.chdir(tmp_path)
    run = TejJob(
        destination=local,
        # `ls` alone would sort by the locale of the user.
        script="cat data/two.txt data/deep/one.txt; LC_ALL=C ls",
        files=["data/**/*.txt"],
    ).trigger()
    run.wait_for_completion()
    assert run.logs().split() == ["2", "1", "_stderr", "_stdout", "data", "start.sh"]
    with pytest.raises(tej.InvalidJobDirectory, match=r"'nothing/\*' matches no file"):
        TejJob(destination=local, script="ls", files=["nothing/*"]).trigger()
    with pytest.raises(tej.InvalidJobDirectory, match="points outside"):
        TejJob(destination=local, script="ls", files=["../x"]).trigger()


def test_only_matching_files_are_uploaded(local: TejDestination, job: Make) -> None:
    directory = job("ls", {"keep.txt": "", "large.bin": ""})
    run = TejJob(
        destination=local, directory=directory, files=["start.sh", "*.txt"]
    ).trigger()
    run.wait_for_completion()
    assert "keep.txt" in run.logs()
    assert "large.bin" not in run.logs()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either `destination` or `host`"),
        ({"destination": "a", "host": "b"}, "either `destination` or `host`"),
        ({"destination": "a", "user": "b"}, "only with `host`"),
        ({"destination": "me:sesame@host"}, "use `password`"),
        ({"destination": "not a host"}, "Invalid destination"),
        ({"host": "a;b"}, "Invalid host name"),
        ({"host": "a", "port": 0}, "greater than or equal to 1"),
        ({"host": "a", "key_file": "k", "private_key": "p"}, "either `key_file` or"),
        ({"host": "a", "host_key_policy": "any"}, "'known' or 'accept-new'"),
    ],
)
def test_invalid_destination_says_what_is_wrong(
    fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        TejDestination(**fields)
    assert words in str(caught.value)
    assert "sesame" not in f"{caught.value}{caught.value!r}"


def test_invalid_job_says_what_is_wrong(local: TejDestination) -> None:
    for fields, words in [
        ({}, "set `directory`"),
        ({"script": "ls", "command": "ls"}, "`script` and `command` cannot be"),
        ({"script": "ls", "results": ["../x"]}, "not in the job's directory"),
        ({"script": "ls", "resources": {"cpus": 0}}, "0 is not a valid value of cpus"),
    ]:
        with pytest.raises(ValidationError, match=words):
            TejJob(destination=local, **fields)


def test_validation_errors_show_no_secret() -> None:
    from tej_prefect.worker_configuration import TejWorkerConfiguration

    destination = {"host": "h", "password": "s3cret"}
    for wrong in ({}, {"script": "ls", "on_cancel": "no"}):
        with pytest.raises(ValidationError) as caught:
            TejJob(destination=destination, **wrong)
        assert "s3cret" not in f"{caught.value}{caught.value!r}"
    with pytest.raises(ValidationError) as caught:
        TejWorkerConfiguration(env={"PREFECT_API_KEY": "s3cret"})
    assert "s3cret" not in f"{caught.value}{caught.value!r}"


def test_missing_key_file_is_named() -> None:
    block = TejDestination(host="server.example.org", key_file="/nowhere/key")
    with pytest.raises(tej.ConnectionFailed, match=r"/nowhere/key.*private_key"):
        block.get_client()


def test_passphrase_opens_key_file(
    destination: TejDestination, sshd: Sshd, tmp_path: Path, job: Make
) -> None:
    key = make_key(tmp_path / "closed key", passphrase="open sesame")
    with sshd.authorized_keys.open("a") as authorized:
        authorized.write(public_half(key).read_text())
    fields = {"private_key": None, "key_file": key}
    right = destination.model_copy(
        update={**fields, "passphrase": SecretStr("open sesame")}
    )
    run = TejJob(destination=right, directory=job("echo in")).trigger()
    run.wait_for_completion()
    wrong = destination.model_copy(update={**fields, "passphrase": SecretStr("no")})
    with pytest.raises(tej.AuthenticationFailed) as caught:
        wrong.get_client().statuses(["x"])
    assert "passphrase" in str(caught.value)


def test_unknown_host_key_follows_the_policy(
    destination: TejDestination, job: Make
) -> None:
    unknown = destination.model_copy(update={"known_hosts": ""})
    with pytest.raises(tej.HostKeyRejected):
        TejJob(destination=unknown, directory=job("echo in")).trigger()
    accepting = unknown.model_copy(update={"host_key_policy": "accept-new"})
    TejJob(destination=accepting, directory=job("echo in")).trigger()


def test_equal_destinations_share_one_queue(
    destination: TejDestination,
) -> None:
    same = TejDestination(**destination.model_dump())
    assert same.get_client() is destination.get_client()
    other = destination.model_copy(update={"queue": "~/other"})
    assert other.get_client() is not destination.get_client()


def test_pickles_contain_no_secrets(
    prefect_server: str, destination: TejDestination, unique: str, job: Make
) -> None:
    for unsaved in (
        destination,
        TejJob(destination=destination, script="exit 0"),
        TejJobRun(destination, "a1"),
    ):
        with pytest.raises(
            pickle.PicklingError, match=r"\(private_key\).*save\(NAME\)"
        ):
            pickle.dumps(unsaved)
    destination.save(unique)
    stored = TejDestination.load(unique)
    run = TejJob(destination=stored, directory=job("echo hi")).trigger()
    data = pickle.dumps(run)
    assert b"PRIVATE KEY" not in data
    loaded = pickle.loads(data)
    assert isinstance(loaded, TejJobRun)
    assert loaded.destination == stored
    loaded.wait_for_completion()
    assert loaded.logs() == "hi\n"
    # A copy with another queue is not the stored block.
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(stored.model_copy(update={"queue": "~/other"}))
    plain = TejDestination(destination="local:")
    assert pickle.loads(pickle.dumps(plain)) == plain


def test_import_without_prefect_names_the_extra(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['prefect'] = None; import tej_prefect"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "pip install 'tej[prefect]'" in done.stderr
