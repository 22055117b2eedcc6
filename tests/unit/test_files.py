"""Writing files in full or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from maeum.config import Config
from maeum.errors import ModelError, OutputError, StoreError
from maeum.files import (
    LOCK,
    TEMPORARY,
    Made,
    atomic_write,
    begins_with,
    check_output_file,
    check_output_folder,
    has_keys,
    only_process,
    write_whole,
)


@pytest.fixture
def short_files() -> Iterator[None]:
    """No file may be larger than 1000 bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("error_type", [OutputError, StoreError, ModelError])
def test_a_failed_write_leaves_what_was_there_and_no_rubbish(
    tmp_path: Path, short_files: None, error_type: type[Exception]
):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(error_type, match=r"a\.json: cannot be written: File too large\. The disk or a limit refuses"):
        write_whole(path, "x" * 100_000, error_type)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_settings_that_cannot_be_written_leave_the_old_ones(tmp_path: Path, short_files: None):
    class Settings(Config):
        text: str

    Settings(text="old").save(tmp_path / "s.json")
    with pytest.raises(OutputError, match="cannot be written"):
        Settings(text="x" * 2000).save(tmp_path / "s.json")
    assert Settings.load(tmp_path / "s.json").text == "old"


def test_an_error_of_the_writer_itself_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a"
    write_whole(path, b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_file_appears_only_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "a"
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        assert [p.name.startswith(TEMPORARY) for p in tmp_path.iterdir()] == [True]
    assert path.read_bytes() == b"half"


def test_names_as_long_as_the_disk_allows(tmp_path: Path):
    path = tmp_path / ("x" * 255)
    write_whole(path, "text")
    assert path.read_text() == "text"


def test_permissions_are_those_of_any_new_file(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_threads_that_write_the_same_file_do_not_mix(tmp_path: Path):
    path = tmp_path / "a"
    contents = [bytes([n]) * 200_000 for n in range(8)]
    threads = [threading.Thread(target=write_whole, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_hidden_files_and_what_a_stopped_command_leaves_are_nobodys_result(tmp_path: Path):
    never = Made("a result", lambda folder: False)
    (tmp_path / "run").mkdir()
    (tmp_path / LOCK).touch()
    (tmp_path / "run" / f"{TEMPORARY}1").touch()
    (tmp_path / ".gitkeep").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").touch()
    (tmp_path / "recipe.yaml").touch()  # what a user keeps beside results
    (tmp_path / "train.log").touch()
    check_output_folder(tmp_path, never)
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(
        OutputError, match=r"holds other files \(run/notes\.txt\) and is not a result\. Choose an empty"
    ):
        check_output_folder(tmp_path, never)
    with pytest.raises(OutputError, match="is there already and is not a result"):
        check_output_file(Path(__file__), never)


@pytest.mark.parametrize("content", ["[" * 100_000, "\0", ""])
def test_a_file_that_cannot_be_read_is_recognised_as_nothing(tmp_path: Path, content: str):
    (tmp_path / "a").write_text(content)
    assert not has_keys("scores")(tmp_path / "a")
    assert not begins_with("# Networks")(tmp_path / "a")
    assert not begins_with("# Networks")(tmp_path / "nothing")


def test_a_killed_process_leaves_its_folder_free(tmp_path: Path):
    hold = """if True:
        import pathlib, sys, time
        from maeum.files import only_process
        with only_process(pathlib.Path(sys.argv[1]), "used"):
            print("held", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="is being used by another process"), only_process(tmp_path, "used"):
            pass
    finally:
        process.kill()
        process.communicate()
    with only_process(tmp_path, "used"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_can_be_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_process(tmp_path, "used"):
        pass


def test_where_python_has_no_locks_a_folder_can_be_worked_in(tmp_path: Path):
    """Python for Windows has no module fcntl."""
    script = """if True:
        import pathlib, sys
        sys.modules["fcntl"] = None
        from maeum.files import only_process
        with only_process(pathlib.Path(sys.argv[1]), "used"):
            print("done")
    """
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr
