"""CMU-MOSEI in its raw layout, whole and damaged in the ways that copies of it are."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maeum.corpora import LeftOut, make_corpus
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Utterance

TEXT = {"needs": ["text"]}
NOT_A_LINE = "the line is not video___clip___start___end___text"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, make_mosei: Callable[..., Path]) -> Path:
    return make_mosei(tmp_path_factory.mktemp("mosei") / "CMU-MOSEI")


@pytest.fixture
def words(tmp_path: Path, make_mosei: Callable[..., Path]) -> Path:
    return make_mosei(tmp_path / "CMU-MOSEI", media=False)


def read(source: Path, **options: Any) -> tuple[dict[str, Utterance], dict[str, str]]:
    items = list(make_corpus("mosei", options).items(source))
    used = {item.id: item for item in items if isinstance(item, Utterance)}
    left = {item.id: item.reason for item in items if isinstance(item, LeftOut)}
    assert len(used) + len(left) == len(items)
    return used, left


def change(path: Path, old: str, new: str) -> None:
    data = path.read_bytes().decode()
    assert old in data
    path.write_bytes(data.replace(old, new).encode())


def table(source: Path, name: str = "5000_batch_raw") -> Path:
    return source / f"Raw/Labels/{name}.csv"


def transcript(source: Path, video: str = "-3g5yACwYnA") -> Path:
    return source / f"Raw/Transcript/Segmented/Combined/{video}.txt"


def test_every_utterance_as_it_was_rated(whole: Path):
    used, left = read(whole)
    found = {id: (u.start_s, u.end_s, u.text, u.label, u.scales, u.part) for id, u in used.items()}
    assert found == {
        "-3g5yACwYnA_2": (
            -0.457596371882, 2.25, "Key Polymer, I love it.", ("happiness", "surprise"), {"sentiment": 1.0}, "train",
        ),
        "-3g5yACwYnA_3": (2.0, 3.5, "We are huge", (), {"sentiment": -0.5}, "train"),
        "-3g5yACwYnA_10": (
            6.5, 8.25, 'He said ___nothing___ of it: "Why?"', ("anger", "disgust", "happiness"),
            {"sentiment": pytest.approx(-8 / 3)}, "train",
        ),
        "100178_0": (0.0124716553288, 1.5, "What a mess.", ("fear", "sadness"), {"sentiment": -1.5}, "dev"),
        "100178_2": (4.0, 6.3, "It ends a little late.", (), {"sentiment": 0.0}, "dev"),
        "a___bC-d_12_0": (0.5, 2.0, "Oh.", ("surprise",), {"sentiment": 1.0}, "test"),
    }  # fmt: skip
    assert [u.speaker for u in used.values()] == [u.dialogue for u in used.values()]
    assert {u.speaker for u in used.values()} == {"-3g5yACwYnA", "100178", "a___bC-d_12"}
    assert {u.notes for u in used.values()} == {()}
    recording = used["100178_0"].recording
    assert recording is not None
    assert recording.video == whole / "Raw/Videos/Full/Combined/100178.mp4"
    assert recording.audio == whole / "Raw/Audio/Full/WAV_16000/100178.wav"
    assert left == {
        "-3g5yACwYnA_4": "empty transcript",
        "-3g5yACwYnA_5": "no label",
        "-3g5yACwYnA_77": "no line in the transcripts",
        "100178_1": "misaligned times: end 1.5 s is not after start 3 s",
        "100178_3": "misaligned times: most of 40 s to 42 s is beyond 100178.mp4, which is 6.00 s long",
        "a___bC-d_12_1": "misaligned times: start 'nan' is not a number",
        "zzMissing00_0": "missing video: no whole video zzMissing00.mp4",
        "100178.txt, line 5 of the transcript": NOT_A_LINE,
        "5000_batch_raw.csv, line 17": "the row names no clip",
    }


@pytest.mark.parametrize(
    ("rule", "threshold", "labels"),
    [
        ("sum", 0.0, [("anger", "disgust", "happiness"), ("happiness", "surprise")]),
        ("sum", 1.0, [("anger", "disgust"), ("happiness",)]),
        ("mean", 0.0, [("anger", "disgust", "happiness"), ("happiness", "surprise")]),
        ("mean", 0.5, [("anger", "disgust"), ("happiness",)]),
        ("mean", 1.0, [("anger",), ()]),
        ("majority", 0.0, [("anger",), ("happiness",)]),
        ("majority", 1.0, [(), ()]),
    ],
)
def test_when_an_emotion_is_present(words: Path, rule: str, threshold: float, labels: list[tuple[str, ...]]):
    used, _ = read(words, rule=rule, threshold=threshold, **TEXT)
    assert [used[id].label for id in ("-3g5yACwYnA_10", "-3g5yACwYnA_2")] == labels


def test_repeated_rows_count_once(words: Path, tmp_path: Path, make_mosei: Callable[..., Path]):
    rated = {id: (u.label, u.scales) for id, u in read(words, **TEXT)[0].items()}
    line = next(row for row in table(words).read_bytes().decode().split("\r\n") if "A1 -3g5yACwYnA 2" in row)
    with table(words).open("ab") as file:
        file.write(f"{line}\r\n{line}\r\n".encode())
    assert {id: (u.label, u.scales) for id, u in read(words, **TEXT)[0].items()} == rated
    # Where annotators have no names, rows of one table are people who agree, and those of another are copies.
    nameless = make_mosei(tmp_path / "nameless", media=False, annotators=False)
    assert {id: (u.label, u.scales) for id, u in read(nameless, **TEXT)[0].items()} == rated
    with table(nameless).open("ab") as file:
        file.write(b"H,-3g5yACwYnA,2,0,0,0,2,0,0,2\r\n")
    assert read(nameless, **TEXT)[0]["-3g5yACwYnA_2"].scales == {"sentiment": 5 / 4}


def test_answers_that_contradict_or_are_missing(words: Path):
    with table(words, "saved_5000_batch_raw").open("ab") as file:
        file.write(b"H,A2 -3g5yACwYnA 2,-3g5yACwYnA,2,3,3,3,3,3,3,-3\r\n")
    change(table(words, "pom_extra_sqa_mono_results"), "100178.0,2.0,0,0,0,0,0,0,0", "100178.0,2.0,{},,nan,0,0,1,0")
    change(table(words, "pom_extra_sqa_mono_results"), "100178.0,0.0,0,0,1,0,2,0,-1", "100178.0,0.0,,,,,,,-1")
    change(table(words, "pom_extra_sqa_mono_results"), "100178.0,0.0,0,0,0,0,1,0,-2", "100178.0,0.0,,,,,,,-2")
    used, _ = read(words, **TEXT)
    assert used["-3g5yACwYnA_2"].label == ("happiness", "surprise")
    assert "an annotator answered twice, and differently; the first answer is taken" in used["-3g5yACwYnA_2"].notes
    assert used["100178_2"].label == ("surprise",)
    assert "nobody answered about anger, disgust, fear; taken as absent" in used["100178_2"].notes
    assert (used["100178_0"].label, used["100178_0"].scales) == (None, {"sentiment": -1.5})


def test_an_answer_that_is_no_number_is_named(words: Path):
    change(table(words), "-3g5yACwYnA,77,0,0,0,3", "-3g5yACwYnA,77,0,0,0,three")
    with pytest.raises(CorpusError, match=r"5000_batch_raw\.csv, line 12: answer\.happiness 'three' is not a number"):
        read(words)


def test_what_an_utterance_needs(whole: Path, tmp_path: Path):
    source = shutil.copytree(whole, tmp_path / "copy")
    (source / "Raw/Videos/Full/Combined/100178.mp4").unlink()
    (source / "Raw/Videos/Full/Combined/a___bC-d_12.mp4").write_bytes(b"cut short")
    (source / "Raw/Audio/Full/WAV_16000/-3g5yACwYnA.wav").unlink()
    used, left = read(source)
    assert used == {}
    assert left["100178_0"] == "missing video: no whole video 100178.mp4"
    assert left["a___bC-d_12_0"].startswith("missing video: ")
    assert "a___bC-d_12.mp4" in left["a___bC-d_12_0"]
    assert left["-3g5yACwYnA_2"] == "missing sound: no -3g5yACwYnA.wav"
    used, left = read(source, needs=["text"])
    assert used.keys() >= {"100178_0", "a___bC-d_12_0", "-3g5yACwYnA_2", "zzMissing00_0"}
    assert used["100178_0"].notes == ("no video: no whole video 100178.mp4",)
    assert used["-3g5yACwYnA_2"].notes == ("no sound: no -3g5yACwYnA.wav",)
    assert used["zzMissing00_0"].recording is None
    assert "100178.wav" in left["100178_3"], "the sound tells its length too"
    assert read(source, needs=["speech"])[0]["100178_0"].text == "What a mess."


def test_the_sound_of_the_video_stands_in(
    whole: Path, tmp_path: Path, make_media: Callable[..., Path], make_grey_frames: Any, make_sine: Any
):
    source = shutil.copytree(whole, tmp_path / "copy")
    shutil.rmtree(source / "Raw/Videos/Full")
    # A folder of another name, and another container.
    path = source / "youtube/100178.MKV"
    path.parent.mkdir()
    make_media(path, make_grey_frames([40] * 60), sound=make_sine(300, 6.0, 16_000), container_format="matroska")
    used, _ = read(source)
    assert used.keys() == {"100178_0", "100178_2"}
    assert used["100178_0"].recording is not None
    assert (used["100178_0"].recording.video, used["100178_0"].recording.audio.name) == (path, "100178.wav")
    (source / "Raw/Audio/Full/WAV_16000/100178.wav").unlink()
    heard = read(source)[0]["100178_0"]
    assert heard.recording is not None
    assert heard.recording.audio == path
    assert heard.notes == ("no 100178.wav; the video's own sound is taken",)
    shutil.rmtree(source / "Raw/Audio")
    assert read(source)[0]["100178_0"].notes == (), "nobody misses what was never there"


def test_lists_of_utterances_or_of_videos(words: Path, tmp_path: Path):
    for part in ("train", "valid", "test"):
        (words / f"folds/{part}.txt").unlink()
    used, _ = read(words, **TEXT)
    assert {u.part for u in used.values()} == {None}
    lists = tmp_path / "MOSEI_split"
    lists.mkdir()
    given = {"train": "-3g5yACwYnA_2\r\n-3g5yACwYnA_10\r\n", "valid": "100178_0\n\n", "test": "a___bC-d_12\n"}
    for part, ids in given.items():
        (lists / f"{part}_split.txt").write_text(ids, newline="")
    used, left = read(words, lists=lists, **TEXT)
    assert {id: u.part for id, u in used.items()} == {
        "-3g5yACwYnA_2": "train", "-3g5yACwYnA_10": "train", "100178_0": "dev", "a___bC-d_12_0": "test",
    }  # fmt: skip
    assert left["-3g5yACwYnA_3"] == "in none of the lists"
    assert read(shutil.copytree(lists, words / "lists").parent, **TEXT)[0].keys() == used.keys(), "found in the source"
    (lists / "valid_split.txt").write_text("-3g5yACwYnA_2\n")
    with pytest.raises(CorpusError, match=r"valid_split\.txt: -3g5yACwYnA_2 is in train and in dev"):
        read(words, lists=lists)
    (lists / "valid_split.txt").unlink()
    with pytest.raises(CorpusError, match=r"MOSEI_split: needs one list each for train, dev \(or valid\) and test"):
        read(words, lists=lists)
    shutil.copytree(words / "lists", words / "more")
    with pytest.raises(CorpusError, match=r"all hold lists.* Choose with the option lists"):
        read(words)


def test_a_clip_with_two_lines(words: Path):
    with transcript(words).open("a") as file:
        file.write("-3g5yACwYnA___3___2.0___3.5___We are huge\n-3g5yACwYnA___2___1.0___2.0___Other words.\n")
    used, _ = read(words, **TEXT)
    note = "several lines of the transcripts; the first is taken"
    assert used["-3g5yACwYnA_2"].text == "Key Polymer, I love it."
    assert [id for id, u in used.items() if note in u.notes] == ["-3g5yACwYnA_2"]


def test_bytes_of_windows_and_separators_inside_of_a_text(words: Path):
    path = transcript(words)
    path.write_bytes(path.read_bytes().replace(b"I love it", b"I\x92m in\xe2\x80\xa8love \x0bwith it"))
    (path.parent / "._100178.txt").write_bytes(b"\0\5\x16\7___0___0.0___1.0___Mac OS X")
    used, left = read(words, **TEXT)
    assert used["-3g5yACwYnA_2"].text == "Key Polymer, I\u2019m in\u2028love \x0bwith it."
    assert sum("of the transcript" in id for id in left) == 1


def test_another_folder_is_explained(tmp_path: Path, words: Path):
    with pytest.raises(CorpusError, match=r"nowhere: no such folder. Give the folder that holds Labels"):
        read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"no transcript with lines video___clip.*Looked for Labels/\*\.csv or CMU_"):
        read(words / "Raw/Labels")
    with pytest.raises(CorpusError, match=r"holds no labels: neither a \.csv .* nor a \.csd"):
        read(words / "Raw/Transcript")
    with pytest.raises(CorpusError, match=r"holds no labels \(the option labels asks for csd\)"):
        read(words, labels="csd")
    change(table(words), "Answer.fear", "Answer.terror")
    with pytest.raises(CorpusError, match=r"5000_batch_raw\.csv: has no column 'answer\.fear'"):
        read(words)


# Means over the annotators, worked out by hand: sentiment, happy, sad, anger, surprise, disgust, fear.
MEANS: dict[str, list[tuple[float, float, list[float]]]] = {
    "-3g5yACwYnA": [
        (6.5, 8.25, [-8 / 3, 1 / 3, 0, 4 / 3, 0, 1, 0]),
        (-0.457596371882, 2.25, [1, 1, 0, 0, 1 / 3, 0, 0]),
        (2.0, 3.5, [-0.5, 0, 0, 0, 0, 0, 0]),
        (100.0, 102.0, [3, 3, 0, 0, 0, 0, 0]),
    ],
    "100178": [(0.0124716553288, 1.5, [-1.5, 0, 1.5, 0, 0, 0, 0.5]), (4.0, 6.3, [0, 0, 0, 0, 0, 0, 0])],
    "a___bC-d_12": [(0.5, 2.0, [1, 0, 0, 0, 3, 0, 0])],
}


def write_csd(path: Path, order: list[int] | None = None, columns: str | None = None) -> Path:
    """A computational sequence as the CMU-MultimodalSDK writes it."""
    h5py = pytest.importorskip("h5py", reason="needs h5py, of the extra mosei")
    names = ["sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear"]
    order = order or list(range(7))
    with h5py.File(path, "w") as file:
        root = file.create_group("All Labels")
        for video, segments in MEANS.items():
            group = root.create_group(f"data/{video}")
            values = np.asarray([values for _, _, values in segments], np.float32)
            group["features"] = values[:, order]
            group["intervals"] = np.asarray([[start_s, end_s] for start_s, end_s, _ in segments], np.float32)
        text = columns or json.dumps([names[i] for i in order])
        root.create_dataset("metadata/dimension names", (1,), dtype=h5py.string_dtype())[0] = text
    return path


def test_labels_of_a_computational_sequence(words: Path, tmp_path: Path):
    expected = read(words, **TEXT)[0]
    path = write_csd(words / "CMU_MOSEI_Labels.csd")
    assert read(words, **TEXT)[0] == expected, "the tables come first"
    for order in (None, [6, 0, 5, 1, 4, 2, 3]):
        write_csd(path, order)
        used, left = read(words, labels="csd", **TEXT)
        assert {id: (u.label, u.part) for id, u in used.items()} == {
            id: (u.label, u.part) for id, u in expected.items() if id not in ("zzMissing00_0", "100178_3")
        }
        for id, utterance in used.items():
            assert utterance.scales is not None
            assert utterance.scales == pytest.approx(expected[id].scales)
        assert left["-3g5yACwYnA, segment 3 of CMU_MOSEI_Labels.csd"] == "no line in the transcripts"
        assert left["zzMissing00_0"] == left["-3g5yACwYnA_5"] == "no label"
    shutil.rmtree(words / "Raw/Labels")
    assert read(words, **TEXT)[0].keys() == used.keys(), "the sequence is taken where there are no tables"
    assert read(words, rule="mean", threshold=0.4, **TEXT)[0]["-3g5yACwYnA_10"].label == ("anger", "disgust")
    for options in ({"rule": "majority"}, {"threshold": 1.0}):
        with pytest.raises(ConfigError, match=r"needs each annotator's answer.* use the rule mean"):
            read(words, **options)


def test_a_sequence_that_is_none(words: Path):
    path = write_csd(words / "CMU_MOSEI_Labels.csd", columns='["sentiment", "happy"]')
    with pytest.raises(CorpusError, match=r"no computational sequence of labels \(its columns are sentiment, happy\)"):
        read(words, labels="csd")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorpusError, match=r"CMU_MOSEI_Labels\.csd: is no computational sequence .* again"):
        read(words, labels="csd")


def test_without_h5py_the_error_says_what_to_install(words: Path, monkeypatch: pytest.MonkeyPatch):
    (words / "CMU_MOSEI_Labels.csd").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        CorpusError, match=r"h5py, which reads it, is not installed. Run `pip install 'maeum\[mosei\]'`"
    ):
        read(words, labels="csd")
    assert read(words, **TEXT)[0], "nor is it needed for the tables"


@pytest.fixture(scope="module")
def prepared(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The corpus, prepared; centres stand in for faces, so that their grey says when they were shown."""
    store = tmp_path_factory.mktemp("stores") / "mosei"
    settings = PrepareConfig(no_face="centre-crop")
    return store, prepare("mosei", whole, store, settings).lines()


def test_the_account_adds_up(prepared: tuple[Path, list[str]]):
    store = Store(prepared[0])
    account = store.manifest["account"]
    assert (account["items"], account["used"], account["left_out"]) == (15, 6, 9)
    assert account["modalities"] == {"faces": 6, "speech": 6, "text": 6}
    for line in (
        "mosei: 6 of 15 items used, 9 left out",
        "  train: 3 (anger 1, disgust 1, happiness 2, surprise 1)",
        "  dev: 2 (fear 1, sadness 1)",
        "  used / published: train 3 / 14524, dev 2 / 1765, test 1 / 4188; in all 6 / 20477",
        "  left out: 3 x misaligned times",
        "  left out: 1 x missing video",
        "  left out: 1 x empty transcript",
        "  left out: 1 x no label",
    ):
        assert any(said == line or said.startswith(f"{line} (") for said in prepared[1]), line


def test_each_utterance_shows_its_own_time(prepared: tuple[Path, list[str]]):
    store = Store(prepared[0])
    for number, row in enumerate(store.rows):
        start_s = max(row["start_s"], 0.0)
        faces = store.array(number, "faces")
        assert faces is not None
        asked = start_s + 0.5 * np.arange(len(faces))
        np.testing.assert_allclose(faces.astype(float).mean((1, 2, 3)), 40 + 20 * asked, atol=5, err_msg=row["id"])
        mel_chunks = store.array(number, "mel_chunks")
        assert mel_chunks is not None
        heard_s = (6.0 if row["id"] == "100178_2" else row["end_s"]) - start_s
        assert len(mel_chunks) == pytest.approx(heard_s / 0.4, abs=1)


def test_one_store_serves_emotions_and_sentiment(prepared: tuple[Path, list[str]]):
    emotions = StoreDataset(prepared[0], "train", target="emotions", labelled=True)
    assert emotions.label_set.task == "multi-label"
    assert dict(zip(emotions.ids, (t.tolist() for t in emotions.targets() if t is not None), strict=True)) == {
        "-3g5yACwYnA_2": [0, 0, 0, 1, 0, 1],
        "-3g5yACwYnA_3": [0, 0, 0, 0, 0, 0],
        "-3g5yACwYnA_10": [1, 1, 0, 1, 0, 0],
    }
    sentiment = StoreDataset(prepared[0], target="sentiment", labelled=True)
    assert sentiment.label_set.ranges == ((-3.0, 3.0),)
    assert [t.item() for t in sentiment.targets() if t is not None] == pytest.approx([1, -0.5, -8 / 3, -1.5, 0, 1])
    assert StoreDataset(prepared[0]).speakers() == {"-3g5yACwYnA", "100178", "a___bC-d_12"}


def test_other_lists_change_the_parts_and_nothing_else(words: Path, tmp_path: Path):
    settings = PrepareConfig(options=TEXT)
    prepare("mosei", words, tmp_path / "store", settings)
    (words / "folds/train.txt").write_text("100178\n")
    (words / "folds/valid.txt").write_text("-3g5yACwYnA\n")
    report = prepare("mosei", words, tmp_path / "store", settings)
    assert report.account["parts"] == {"dev": 3, "train": 3, "test": 2}
