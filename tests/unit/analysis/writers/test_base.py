"""Files that are whole, where they should be, and never in place of something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maeum.analysis.writers import WRITERS, Writer, write_timeline
from maeum.errors import ConfigError, InputError, OutputError
from maeum.types import Timeline


def test_files_beside_the_recording_never_replace_others(timeline: Timeline, tmp_path: Path):
    (tmp_path / "clip.srt").write_text("the user's own")
    there = replace(timeline, source=str(tmp_path / "clip.mp4"))
    (path,) = write_timeline(there, tmp_path, ["srt"])
    assert path.name == "clip.emotions.srt"
    assert (tmp_path / "clip.srt").read_text() == "the user's own"


def test_a_transcript_in_the_output_folder_is_kept(timeline: Timeline, tmp_path: Path):
    transcript = tmp_path / "holiday clip.srt"
    transcript.write_text("the user's own")
    (path,) = write_timeline(timeline, tmp_path, ["srt"], keep=[transcript])
    assert path.name == "holiday clip.emotions.srt"
    assert transcript.read_text() == "the user's own"


def test_a_folder_that_cannot_be_made_is_one_clear_error(timeline: Timeline, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "out", Path("/proc/maeum-out")):
        with pytest.raises(OutputError, match="--out"):
            write_timeline(timeline, folder, ["json"])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("formats", ["html", "html,srt", ("html", "srt")])
def test_formats_may_be_one_text(timeline: Timeline, tmp_path: Path, formats: str):
    written = write_timeline(timeline, tmp_path, formats)
    assert [p.suffix for p in written] == ([".html"] if formats == "html" else [".html", ".srt"])


def test_an_unknown_format_is_an_error_before_anything_is_written(timeline: Timeline, tmp_path: Path):
    with pytest.raises(ConfigError, match="pdf"):
        write_timeline(timeline, tmp_path / "out", "html,pdf")
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(ConfigError, match="html"):
        _ = WRITERS["htm"]


@pytest.mark.parametrize("formats", [None, 3, [None], [["json"]], b"json"])
def test_formats_that_are_no_names_are_named(timeline: Timeline, tmp_path: Path, formats: Any):
    with pytest.raises(InputError, match=r"^formats: .*Give \"html,json\" or a list of names; there is csv"):
        write_timeline(timeline, tmp_path / "out", formats)
    assert not (tmp_path / "out").exists()


def test_what_is_no_timeline_or_no_folder_is_named(timeline: Timeline, tmp_path: Path):
    with pytest.raises(InputError, match=r"^timeline: NoneType is not a timeline.*analyse"):
        write_timeline(None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^folder: NoneType is not a folder"):
        write_timeline(timeline, None)  # type: ignore[arg-type]


def test_a_writer_may_make_bytes(timeline: Timeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(WRITERS._table, "raw", Writer(".raw", "bytes", lambda timeline, card: b"\xff\x00"))
    (path,) = write_timeline(timeline, tmp_path, "raw")
    assert path.read_bytes() == b"\xff\x00"
