"""What users really have: damaged, empty, strange and huge files, full disks. One clear line, or a note."""

from __future__ import annotations

import json
import os
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
Maeum = Callable[..., Any]
Make = Callable[[Path], Path]


def _bytes(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def _demo(name: str, share: float) -> Make:
    """The demo clip, cut off after a share of its bytes; its index is at the end."""
    data = DEMO.read_bytes()
    return _bytes(name, data[: round(len(data) * share)])


def _directory(folder: Path) -> Path:
    (folder / "clip.mp4").mkdir()
    return folder / "clip.mp4"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("x")
    return folder / "file" / "clip.mp4"


def _loop(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to(folder / "b.mp4")
    (folder / "b.mp4").symlink_to(folder / "a.mp4")
    return folder / "a.mp4"


def _zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "clip.mp4", "w") as archive:
        archive.write(DEMO, "demo.mp4")
    return folder / "clip.mp4"


def _wav(data_bytes: int, claims: int | None = None) -> bytes:
    """A RIFF header of 16 kHz mono and that much silence."""
    size = data_bytes if claims is None else claims
    head = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += (1).to_bytes(2, "little") * 2 + (16000).to_bytes(4, "little") + (32000).to_bytes(4, "little")
    return (
        head
        + (2).to_bytes(2, "little")
        + (16).to_bytes(2, "little")
        + b"data"
        + size.to_bytes(4, "little")
        + bytes(data_bytes)
    )


_RANDOM = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()

UNUSABLE: dict[str, Make] = {
    "empty": _bytes("clip.mp4", b""),
    "one byte": _bytes("clip.mp4", b"\0"),
    "zeros": _bytes("clip.mp4", bytes(10_000)),
    "noise": _bytes("clip.mp4", _RANDOM),
    "text as mp4": _bytes("clip.mp4", b"This is not a film.\n" * 50),
    "an error page as mp4": _bytes("clip.mp4", b"<!doctype html><title>404</title><p>Not found" + b" " * 900),
    "json as wav": _bytes("clip.wav", b'{"error": "expired"}'),
    "cut after 20 bytes": _bytes("clip.mp4", DEMO.read_bytes()[:20]),
    "cut in the middle, index lost": _demo("clip.mp4", 0.5),
    "cut just before the index": _demo("clip.mp4", 0.9),
    "only the header of a wav": _bytes("clip.wav", _wav(0)),
    "half the header of a wav": _bytes("clip.wav", _wav(0)[:30]),
    "a picture cut off": _bytes("clip.png", b"\x89PNG\r\n\x1a\n" + bytes(40)),
    "an archive": _zip,
    "a directory": _directory,
    "below a file": _below_a_file,
    "a symlink loop": _loop,
    "missing": lambda folder: folder / "clip.mp4",
    "a name that is too long": lambda folder: folder / ("x" * 300 + ".mp4"),
    "markup in its name": lambda folder: folder / "[red]clip[/red].mp4",
    "a line break in its name": _bytes("clip\nERROR.mp4", b""),
    "a subtitle file": _bytes("clip.srt", b"1\n00:00:01,000 --> 00:00:02,000\nhello\n"),
}


@pytest.mark.parametrize("make", UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_one_line_that_names_the_file(
    maeum: Maeum, small_model: Path, tmp_path: Path, make: Make
):
    path = make(tmp_path)
    before = {p.name for p in tmp_path.iterdir()}
    ended = maeum("analyse", path, "--model", small_model, "--out", tmp_path / "out")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("maeum: ")
    assert len(ended.err.strip().splitlines()) == 1
    assert " ".join(path.name.split()) in ended.err
    assert {p.name for p in tmp_path.iterdir()} == before, "nothing is left behind"


def _sound(name: str, samples: Any, rate_hz: int, **how: Any) -> Callable[[Path, Any], Path]:
    return lambda folder, write: write(folder / name, sound=samples, rate_hz=rate_hz, **how)


def _picture(name: str, frames: Callable[[], list[Any]], **how: Any) -> Callable[[Path, Any], Path]:
    return lambda folder, write: write(folder / name, frames(), **how)


def _noise(seconds: float, rate_hz: int, channels: int = 1) -> Any:
    return np.random.default_rng(1).normal(0, 0.05, (channels, round(seconds * rate_hz))).astype(np.float32)


def _nan(share: float) -> Any:
    wave = _noise(1.0, 16000)
    wave[:, : round(share * wave.shape[1])] = np.nan
    return wave


_FLOAT = {"audio_codec": "pcm_f32le", "audio_format": "flt"}
_GREY = np.full((48, 64, 3), 90, np.uint8)


def _cut_wav(folder: Path, write: Any) -> Path:
    """A header that promises ten seconds, and one."""
    (folder / "a.wav").write_bytes(_wav(32_000, 320_000))
    return folder / "a.wav"


USABLE: dict[str, tuple[Callable[[Path, Any], Path], str]] = {
    "silence": (_sound("a.wav", np.zeros((1, 32000), np.float32), 16000), "the sound is silent"),
    "a tenth of a second": (_sound("a.wav", _noise(0.1, 16000), 16000), "no answer"),
    "8 kHz mono": (_sound("a.wav", _noise(1, 8000), 8000), "no picture"),
    "96 kHz": (_sound("a.wav", _noise(1, 96000), 96000), "no picture"),
    "6 channels": (_sound("a.wav", _noise(1, 48000, 6), 48000, layout="5.1"), "no picture"),
    "no sample at all beside the picture": (
        _picture("a.mkv", lambda: [_GREY] * 3, sound=np.zeros((1, 0), np.float32)),
        "no answer",
    ),
    "a wav cut off": (_cut_wav, "0:01.0 · 1 segment"),
    "some samples NaN": (_sound("a.wav", _nan(0.2), 16000, **_FLOAT), "NaN"),
    "one frame": (_picture("a.mkv", lambda: [_GREY]), "no face in 1 picture"),
    "frames of 1x1": (_picture("a.mkv", lambda: [np.zeros((1, 1, 3), np.uint8)] * 3), "no answer"),
    "frames of 8K": (
        _picture("a.mkv", lambda: [np.full((4320, 7680, 3), 80, np.uint8)], codec="mjpeg", pix_fmt="yuvj420p"),
        "no answer",
    ),
    "a film that calls itself text": (_picture("a.txt", lambda: [_GREY] * 3, container_format="matroska"), "no answer"),
    "a sound that calls itself a film": (
        _sound("a.mp4", np.zeros((1, 16000), np.float32), 16000, container_format="wav"),
        "the sound is silent",
    ),
    "a name of other letters": (_picture("마음 ü '\".mkv", lambda: [_GREY]), "no answer"),
}


@pytest.mark.parametrize(("make", "says"), USABLE.values(), ids=USABLE)
def test_what_can_be_used_gives_a_timeline_that_says_what_was_wrong(
    maeum: Maeum, small_model: Path, tmp_path: Path, make_media: Any, make: Any, says: str
):
    path = make(tmp_path, make_media)
    ended = maeum("analyse", path, "--model", small_model, "--out", tmp_path / "out", "--format", "json,html,csv,srt")
    assert ended.code == 0, ended.err
    assert says in " ".join(ended.out.split())
    data = json.loads((tmp_path / "out" / f"{path.stem}.json").read_text())
    assert data["segments"]
    for segment in data["segments"]:
        assert sum(segment["prediction"]["probs"].values()) == pytest.approx(1)
        assert segment["prediction"]["label"] or segment["prediction"]["reason"]


def test_sound_without_a_single_number_is_one_line(maeum: Maeum, small_model: Path, tmp_path: Path, make_media: Any):
    path = make_media(tmp_path / "nan.wav", sound=_nan(1.0), **_FLOAT)
    ended = maeum("analyse", path, "--model", small_model)
    assert ended.code == 2
    assert "nan.wav" in ended.err
    assert "every sample" in ended.err


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_film_that_was_cut_off_gives_what_could_be_read(
    maeum: Maeum, small_model: Path, tmp_path: Path, make_media: Any, astronaut: Any, share: float
):
    face = np.ascontiguousarray(astronaut[40:200, 150:310])
    whole = make_media(tmp_path / "whole.mkv", [face] * 40, fps=10)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: round(whole.stat().st_size * share)])
    ended = maeum("analyse", cut, "--model", small_model)
    assert ended.code == 0, ended.err
    assert "truncated" in ended.out
    assert "face alone" in ended.out


TRANSCRIPTS: dict[str, Make] = {
    "missing": lambda folder: folder / "t.srt",
    "empty": _bytes("t.srt", b""),
    "of another kind": _bytes("t.docx", b"words"),
    "binary": _bytes("t.srt", _RANDOM[:400] + b"\0\0\0"),
    "backwards in time": _bytes("t.srt", b"1\n00:00:05,000 --> 00:00:02,000\nhello\n"),
    "broken json": _bytes("t.json", b'[{"start": 1, "text": "hello"'),
    "a directory": lambda folder: [(folder / "t.srt").mkdir(), folder / "t.srt"][1],  # type: ignore[func-returns-value, list-item, return-value]
}


@pytest.mark.parametrize("make", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_a_bad_transcript_is_one_line_that_names_it(maeum: Maeum, small_model: Path, clip: Path, make: Make):
    path = make(clip.parent)
    ended = maeum("analyse", clip, "--transcript", path, "--model", small_model)
    assert ended.code == 2
    assert path.name in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _damaged_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _unknown_setting(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(data | {"inputz": 1}))


def _no_json(folder: Path) -> None:
    (folder / "card.json").write_text("{")


@pytest.mark.parametrize("damage", [_no_weights, _damaged_weights, _unknown_setting, _no_json])
def test_a_damaged_model_is_one_line_that_names_it(
    maeum: Maeum, small_model: Path, clip: Path, damage: Callable[[Path], None]
):
    model = clip.parent / "model"
    shutil.copytree(small_model, model)
    damage(model)
    ended = maeum("analyse", clip, "--model", model)
    assert ended.code == 2
    assert "/model" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--format", "pdf"), "json"),
        (("--format", ","), "json"),
        (("--min-confidence", "7"), "between 0 and 1"),
        (("--device", "cuda:77"), "doctor"),
        (("--device", "toaster"), "toaster"),
        (("--model", "nobody/nothing-like-this"), "nobody/nothing-like-this"),
    ],
)
def test_a_bad_option_is_explained(
    maeum: Maeum, small_model: Path, clip: Path, arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ended = maeum("analyse", clip, *(() if "--model" in arguments else ("--model", small_model)), *arguments)
    assert ended.code == 2
    assert says in ended.err


def test_a_transcript_for_two_recordings_is_refused(maeum: Maeum, small_model: Path, clip: Path):
    ended = maeum("analyse", clip, clip, "--transcript", DEMO.with_suffix(".srt"), "--model", small_model)
    assert ended.code == 2
    assert "one by one" in " ".join(ended.err.split())


@pytest.mark.parametrize("where", ["below a file", "a place that cannot be written"])
def test_a_folder_that_cannot_be_written_is_one_line(maeum: Maeum, small_model: Path, clip: Path, where: str):
    (clip.parent / "file").write_text("")
    out = clip.parent / "file" / "out" if where == "below a file" else Path("/proc/out")
    ended = maeum("analyse", clip, "--model", small_model, "--out", out)
    assert ended.code == 2
    assert str(out) in ended.err.replace("\n", "")
    if where == "below a file":
        assert ended.out == "", "it is seen before the analysis begins"
    else:
        assert "face alone" in ended.out, "the timeline is shown all the same"


@pytest.fixture
def small_files() -> Callable[[int], Any]:
    """A limit on the size of files, which acts as a disk that is full."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with `mine`, a corpus of words; `prepare.yaml` for it, and `recipe.json` for its store in `store`."""
    words = {"happiness": "what a lovely happy day", "sadness": "so sad i could cry"}
    rows = [f",{words[label]} {i},{label},s{i},{'dev' if i >= 8 else 'train'}" for i in range(12) for label in words]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "table.csv").write_text("\n".join(["path,text,label,speaker,part", *rows]) + "\n")
    (tmp_path / "prepare.yaml").write_text(f"options: {{labels: [{', '.join(words)}]}}\n")
    text = {"kind": "small", "vocabulary": 60, "width": 16, "channels": 16, "dim": 16}
    data = [{"store": str(tmp_path / "store"), "modalities": ["text"]}]
    recipe = {
        "name": "mine", "network": {"dim": 8, "faces": None, "speech": None, "text": text}, "train": data, "dev": data,
        "tokenizer": {"kind": "small", "vocabulary": 60}, "training": {"epochs": 2, "batch_size": 8, "seed": 1},
    }  # fmt: skip
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    return tmp_path


def test_a_full_disk_stops_prepare_and_train_and_the_same_command_goes_on(
    maeum: Maeum, corpus: Path, small_files: Callable[[int], Any]
):
    store, run = corpus / "store", corpus / "run"
    commands = {
        store: ("prepare", "folder", "--source", corpus / "mine", "--store", store,
                "--config", corpus / "prepare.yaml"),
        run: ("train", corpus / "recipe.json", "--out", run),
    }  # fmt: skip
    for folder, command in commands.items():
        with small_files(1600):
            stopped = maeum(*command)
        assert stopped.code == 2
        assert len(stopped.err.strip().splitlines()) == 1
        assert f"{folder}/" in stopped.err
        assert "cannot be written" in stopped.err
        assert "space" in stopped.err or "another disk" in stopped.err
        assert not [p for p in folder.rglob("*") if p.suffix in (".part", ".tmp")], "no rubbish"
        assert maeum(*command).code == 0
    assert (run / "model" / "card.json").is_file()


@pytest.mark.parametrize("command", ["prepare", "train", "evaluate"])
def test_a_place_that_cannot_be_written_is_one_line(maeum: Maeum, corpus: Path, command: str):
    prepare = ("prepare", "folder", "--source", corpus / "mine", "--config", corpus / "prepare.yaml", "--store")
    commands = {
        "prepare": (*prepare, "/proc/store"),
        "train": ("train", corpus / "recipe.json", "--out", "/proc/run"),
        "evaluate": ("evaluate", corpus / "store", "--model", corpus / "run" / "model", "--out", "/proc/report.json"),
    }
    if command != "prepare":
        assert maeum(*prepare, corpus / "store").code == 0
    if command == "evaluate":
        assert maeum("train", corpus / "recipe.json", "--out", corpus / "run").code == 0
    ended = maeum(*commands[command])
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert f"{commands[command][-1]}: cannot be written" in ended.err
    assert "another folder" in ended.err


def test_a_recording_that_may_not_be_read_is_one_line(
    maeum: Maeum, small_model: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
):
    clip.chmod(0)
    if os.access(clip, os.R_OK):  # the superuser may read everything
        monkeypatch.setattr(os, "access", lambda path, *_: Path(path) != clip)
    ended = maeum("analyse", clip, "--model", small_model)
    assert (ended.code, ended.out, len(ended.err.strip().splitlines())) == (2, "", 1)
    assert "clip.mkv: may not be read" in ended.err
    assert "permissions" in ended.err


def test_a_corpus_that_may_not_be_read_is_one_line(maeum: Maeum, corpus: Path, monkeypatch: pytest.MonkeyPatch):
    source = corpus / "mine"
    source.chmod(0)
    if os.access(source, os.R_OK):  # the superuser may read everything
        real = Path.iterdir

        def refuse(path: Path) -> Iterator[Path]:
            if path == source:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(Path, "iterdir", refuse)
    ended = maeum("prepare", "folder", "--source", source, "--store", corpus / "store")
    source.chmod(0o755)
    assert (ended.code, ended.out, len(ended.err.strip().splitlines())) == (2, "", 1)
    assert f"{source}: Permission denied" in ended.err


def test_a_full_disk_is_one_line_and_leaves_the_old_result(
    maeum: Maeum, small_model: Path, clip: Path, small_files: Callable[[int], Any]
):
    out = clip.parent / "out"
    assert maeum("analyse", clip, "--model", small_model, "--out", out, "--format", "html").code == 0
    old = (out / "clip.html").read_bytes()
    with small_files(2000):
        ended = maeum("analyse", clip, "--model", small_model, "--out", out, "--format", "html")
    assert ended.code == 2
    assert "clip.html: cannot be written" in ended.err
    assert (out / "clip.html").read_bytes() == old
    assert [p.name for p in out.iterdir()] == ["clip.html"]


def test_results_beside_the_recording_replace_nothing_of_the_users(maeum: Maeum, small_model: Path, clip: Path):
    own = clip.with_suffix(".srt")
    own.write_text("1\n00:00:00,000 --> 00:00:01,000\nmy own words\n")
    before = (clip.read_bytes(), own.read_bytes())
    ended = maeum(
        "analyse", clip, "--transcript", own, "--model", small_model, "--out", clip.parent, "--format", "srt,json"
    )
    assert ended.code == 0, ended.err
    assert (clip.read_bytes(), own.read_bytes()) == before
    assert sorted(p.name for p in clip.parent.iterdir()) == [
        "clip.emotions.json",
        "clip.emotions.srt",
        "clip.mkv",
        "clip.srt",
    ]
