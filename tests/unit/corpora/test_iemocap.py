"""IEMOCAP in the layout of its authors, whole and damaged in the ways that copies of it are."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_counts import class_counts
from maeum.corpora import LeftOut, make_corpus
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Utterance

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
UNRATED = "not rated: only in a transcript, or only as a recording"


@pytest.fixture
def source(tmp_path: Path, make_iemocap: Callable[..., Path]) -> Path:
    return make_iemocap(tmp_path / "IEMOCAP_full_release")


@pytest.fixture
def words_only(tmp_path: Path, make_iemocap: Callable[..., Path]) -> Path:
    return make_iemocap(tmp_path / "IEMOCAP_full_release", media=False)


def read(source: Path, **options: Any) -> tuple[dict[str, Utterance], list[LeftOut]]:
    items = list(make_corpus("iemocap", options).items(source))
    used = {item.id: item for item in items if isinstance(item, Utterance)}
    left = [item for item in items if isinstance(item, LeftOut)]
    assert len(used) + len(left) == len(items)
    return used, left


def evaluation(source: Path, dialogue: str = "Ses01F_impro01") -> Path:
    return source / f"Session{int(dialogue[3:5])}/dialog/EmoEvaluation/{dialogue}.txt"


def transcript(source: Path, dialogue: str = "Ses01F_impro01") -> Path:
    return source / f"Session{int(dialogue[3:5])}/dialog/transcriptions/{dialogue}.txt"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_turn_as_it_was_rated(source: Path):
    used, left = read(source)
    assert left == []
    assert [
        (u.id, u.start_s, u.end_s, u.label, u.speaker, u.text, u.part, u.recording.crop if u.recording else None)
        for u in used.values()
    ] == [
        ("Ses01F_impro01_F000", 0.5, 2.25, "neutral", "Ses01F", "Excuse me.", "train", LEFT),
        ("Ses01F_impro01_F001", 3.0, 4.5, "excitement", "Ses01F", "It is 5:30: really:", "train", LEFT),
        ("Ses01F_impro01_M000", 2.0, 3.25, "frustration", "Ses01M", "Next.", "train", RIGHT),
        ("Ses01F_impro01_M001", 5.0, 6.5, None, "Ses01M", "Yes?", "train", RIGHT),
        ("Ses01M_script01_1_F000", 0.25, 1.75, "happiness", "Ses01F", "What are you doing?", "train", RIGHT),
        ("Ses01M_script01_1_M000", 1.5, 3.0, "sadness", "Ses01M", "Nothing.", "train", LEFT),
        ("Ses04F_impro02_M000", 1.0, 2.5, "anger", "Ses04M", "No!", "dev", RIGHT),
        ("Ses05M_script03_2_M000", 1.0, 2.5, "surprise", "Ses05M", "Oh.", "test", LEFT),
        ("Ses05M_script03_2_F000", 3.0, 4.5, "other", "Ses05F", "Well.", "test", RIGHT),
    ]
    first = used["Ses01F_impro01_F001"]
    assert first.scales == {"valence": 4.3333, "activation": 4.0, "dominance": 3.6667}
    assert (first.dialogue, first.session) == ("Ses01F_impro01", "Session1")
    assert first.notes == ("marks in the transcript that are no words: [LAUGHTER]",)
    assert first.recording is not None
    session = source / "Session1"
    assert first.recording.video == session / "dialog/avi/DivX/Ses01F_impro01.avi"
    assert first.recording.audio == session / "sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav"
    assert (first.recording.audio_starts_s, first.recording.channel) == (3.0, None)
    assert used.keys() == read(source.parent)[0].keys(), "the folder around it will do too"


def test_sound_of_the_dialogue_on_request(source: Path):
    used, _ = read(source, sound="dialogues")
    recordings = [u.recording for u in used.values()]
    assert {r.audio.parent.name for r in recordings if r is not None and r.audio is not None} == {"wav"}
    # The first two speak on the left, the next two on the right; in the second dialogue a man is on the left.
    assert [r.channel for r in recordings if r is not None][:6] == [0, 0, 1, 1, 1, 0]
    assert {r.audio_starts_s for r in recordings if r is not None} == {0.0}


def test_the_real_lines_of_an_evaluation(words_only: Path, shared_data: Path):
    shutil.copy(shared_data / "formats/IEMOCAP_EmoEvaluation_excerpt.txt", evaluation(words_only))
    used, left = read(words_only)
    found = {id: (u.start_s, u.end_s, u.label) for id, u in used.items() if u.dialogue == "Ses01F_impro01"}
    assert found == {
        "Ses01F_impro01_F000": (6.2901, 8.2357, "neutral"),
        "Ses01F_impro01_F001": (10.01, 11.3925, "excitement"),
    }
    assert used["Ses01F_impro01_F000"].scales == {"valence": 2.5, "activation": 2.5, "dominance": 2.5}
    assert {item.id for item in left} == {"Ses01F_impro01_M000", "Ses01F_impro01_M001"}


def test_what_copies_lack_is_noted_and_the_rest_is_used(source: Path):
    session = source / "Session1"
    (session / "dialog/avi/DivX/Ses01M_script01_1.avi").unlink()
    (session / "sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav").unlink()
    change(transcript(source), "Ses01F_impro01_F000 [000.5000-002.2500]: Excuse me.\n", "")
    change(transcript(source), ": Yes?", ":  ")
    shutil.rmtree(source / "Session4/sentences")
    shutil.rmtree(source / "Session4/dialog/wav")
    transcript(source, "Ses05M_script03_2").unlink()
    used, left = read(source)
    assert left == []
    assert {id: u.notes for id, u in used.items() if u.notes} == {
        "Ses01F_impro01_F000": ("no words in the transcript",),
        "Ses01F_impro01_F001": ("marks in the transcript that are no words: [LAUGHTER]",),
        "Ses01F_impro01_M000": ("the turn's wav is missing; the dialogue's is taken",),
        "Ses01F_impro01_M001": ("no words in the transcript",),
        "Ses01M_script01_1_F000": ("no picture: the dialogue's avi is missing",),
        "Ses01M_script01_1_M000": ("no picture: the dialogue's avi is missing",),
        "Ses04F_impro02_M000": ("no sound: the turn's wav and the dialogue's are missing",),
        "Ses05M_script03_2_M000": ("no words in the transcript",),
        "Ses05M_script03_2_F000": ("no words in the transcript",),
    }
    heard = used["Ses01F_impro01_M000"].recording
    assert heard is not None
    assert heard.audio == session / "dialog/wav/Ses01F_impro01.wav"
    assert (heard.channel, heard.audio_starts_s) == (1, 0.0)
    unseen = used["Ses01M_script01_1_F000"].recording
    assert unseen is not None
    assert (unseen.video, unseen.crop) == (None, None)


def test_files_of_macos_and_windows(source: Path):
    expected = read(source)
    evaluations = source / "Session1/dialog/EmoEvaluation"
    (evaluations / "Categorical/Ses01F_impro01_e2_cat.txt").write_text("Ses01F_impro01_F000 :Neutral; ()\n")
    for place in (
        "dialog/EmoEvaluation/._Ses01F_impro01.txt",
        "dialog/EmoEvaluation/.DS_Store",
        "dialog/avi/DivX/._Ses01F_impro01.avi",
        "dialog/transcriptions/._Ses01F_impro01.txt",
        "sentences/wav/._Ses01F_impro01",
        "sentences/wav/Ses01F_impro01/._Ses01F_impro01_F000.wav",
    ):
        (source / "Session1" / place).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    for path in (evaluation(source), transcript(source)):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(source) == expected
    path = transcript(source)
    path.write_bytes(path.read_bytes().replace(b"Next.", b"He\x92s next."))
    assert read(source)[0]["Ses01F_impro01_M000"].text == "He\u2019s next."


def test_speech_that_was_not_rated_is_left_out_and_counted(source: Path):
    with transcript(source).open("a") as file:
        file.write("Ses01F_impro01_MXX0 [007.0000-007.5000]: Mhm.\nM: [BREATHING]\nF: What\n")
        file.write("Ses01F_impro01_MXX0 [007.6000-007.9000]: Hm.\n")
    evaluation(source, "Ses01M_script01_1").unlink()
    wav = source / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    shutil.copy(wav, wav.with_name("Ses01F_impro01_F009.wav"))
    shutil.copy(
        source / "Session4/dialog/avi/DivX/Ses04F_impro02.avi", source / "Session4/dialog/avi/DivX/Ses04F_x.avi"
    )
    (source / "Session5/dialog/EmoEvaluation/Ses01F_impro09.txt").write_text("")
    shutil.rmtree(source / "Session3")
    used, left = read(source)
    assert len(used) == 7
    assert [(item.id, item.reason, item.part) for item in left] == [
        ("Ses01F_impro01_MXX0", UNRATED, "train"),
        ("Ses01F_impro01_MXX0", UNRATED, "train"),
        ("Ses01F_impro01_F009", UNRATED, "train"),
        ("Ses01F_impro01, line 6 of the transcript", UNRATED, "train"),
        ("Ses01F_impro01, line 7 of the transcript", UNRATED, "train"),
        ("Ses01M_script01_1_F000", UNRATED, "train"),
        ("Ses01M_script01_1_M000", UNRATED, "train"),
        ("Session3", "no such file or folder: the whole session", "train"),
        ("Ses04F_x", UNRATED, "dev"),
        ("Session5/dialog/EmoEvaluation/Ses01F_impro09.txt", "the name is no dialogue of its session", "test"),
    ]


def test_a_turn_with_two_lines_in_the_transcript(words_only: Path):
    with transcript(words_only).open("a") as file:
        file.write("Ses01F_impro01_F000 [000.5000-002.2500]: Excuse me.\n")
        file.write("Ses01F_impro01_M000 [002.0000-003.2500]: Who is next?\n")
    used, left = read(words_only)
    assert left == []
    assert used["Ses01F_impro01_F000"].notes == (
        "no picture: the dialogue's avi is missing",
        "no sound: the turn's wav and the dialogue's are missing",
    )
    assert used["Ses01F_impro01_M000"].text == "Next."
    assert "several lines of the transcript; the first is taken" in used["Ses01F_impro01_M000"].notes


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0.5000 - 2.2500]", "[9.1000 - 8.2400]", "line 3: .*F000: end 8.24 s is not after start 9.1 s"),
        ("[0.5000 - 2.2500]", "[-2.0000 - -1.0000]", "line 3: .*F000: end -1 s is not after start -2 s"),
        ("[0.5000 - 2.2500]", "[0.5000 - nan]", "line 3: 'nan' is not a number"),
        ("[0.5000 - 2.2500]", "[0.5000 - ", r"line 3: is not \[start - end\]"),
        ("[0.5000 - 2.2500]", "", r"line 3: is not \[start - end\]"),
        ("\tneu\t", "\tbliss\t", "line 3: .*F000: unknown label 'bliss'"),
        ("[2.5000, 2.5000, 2.5000]", "[2.5000, 2.5000]", r"line 3: is not \[start - end\]"),
        ("Ses01F_impro01_F001", "Ses01F_impro01_F000", "line 9: Ses01F_impro01_F000 is rated twice"),
        ("Ses01F_impro01_F001", "Ses01F_impro02_F001", "line 9: Ses01F_impro02_F001 is no turn of Ses01F_impro01"),
    ],
)
def test_an_evaluation_that_cannot_be_right(words_only: Path, old: str, new: str, message: str):
    change(evaluation(words_only), old, new)
    with pytest.raises(CorpusError, match=rf"Ses01F_impro01\.txt, {message}.*\. [CK][a-z]+ "):
        read(words_only)


def test_a_damaged_line_of_a_transcript_is_named(words_only: Path):
    change(transcript(words_only), "[000.5000-002.2500]: Excuse me.", "[000.5000-00")
    with pytest.raises(CorpusError, match=r"Ses01F_impro01\.txt, line 1: is not turn \[start-end\]: words"):
        read(words_only)


def test_another_folder_is_explained(tmp_path: Path, words_only: Path):
    for wrong in (tmp_path / "nowhere", words_only / "Session1"):
        with pytest.raises(CorpusError, match="Give the folder that holds Session1 to Session5"):
            read(wrong)
    for path in words_only.rglob("Ses*.txt"):
        path.unlink()
    with pytest.raises(CorpusError, match="no turn with an evaluation"):
        read(words_only)
    with pytest.raises(ConfigError, match=r"sessions \[4\] are in dev and in test"):
        read(words_only, test_sessions=[4])


def mel_peak(store: Store, index: int) -> int:
    mel_chunks = store.array(index, "mel_chunks")
    assert mel_chunks is not None
    return int(mel_chunks[0, 0].astype(np.float32).mean(1).argmax())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, make_iemocap: Callable[..., Path]) -> tuple[Path, list[str]]:
    """A damaged corpus, prepared; centres stand in for faces, so that their colour says whose half they are from."""
    folder = tmp_path_factory.mktemp("iemocap")
    source = make_iemocap(folder / "source")
    session = source / "Session1"
    (session / "sentences/wav/Ses01F_impro01/Ses01F_impro01_M001.wav").unlink()
    (session / "sentences/wav/Ses01M_script01_1/Ses01M_script01_1_M000.wav").write_bytes(b"RIFF")
    (source / "Session4/dialog/avi/DivX/Ses04F_impro02.avi").write_bytes(b"RIFF\0\0\0\0AVI ")
    (source / "Session5/dialog/avi/DivX/Ses05M_script03_2.avi").unlink()
    shutil.rmtree(source / "Session5/sentences")
    (source / "Session5/dialog/wav/Ses05M_script03_2.wav").unlink()
    change(transcript(source, "Ses05M_script03_2"), ": Well.", ":")
    with transcript(source).open("a") as file:
        file.write("Ses01F_impro01_MXX0 [007.0000-007.5000]: Mhm.\n")
    settings = PrepareConfig(no_face="centre-crop")
    report = prepare("iemocap", source, folder / "store", settings)
    return folder / "store", report.lines()


def test_the_account_adds_up(prepared: tuple[Path, list[str]]):
    folder, lines = prepared
    store = Store(folder)
    account = store.manifest["account"]
    assert (account["items"], account["used"], account["left_out"]) == (10, 8, 2)
    assert len(store) == 8
    assert account["modalities"] == {"faces": 6, "speech": 6, "text": 8}
    reasons = {item["id"]: item["reason"] for item in store.manifest["left_out"]}
    assert reasons["Ses01F_impro01_MXX0"] == UNRATED
    assert "no picture" in reasons["Ses05M_script03_2_F000"]
    assert "no sound" in reasons["Ses05M_script03_2_F000"]
    assert "no words" in reasons["Ses05M_script03_2_F000"]
    assert lines[0] == "iemocap: 8 of 10 items used, 2 left out"
    assert "  with faces 6, speech 6, text 8" in lines
    assert (
        "  six-class, found / published: anger 1 / 1103, excitement 1 / 1041, frustration 1 / 1849, happiness 1 / 595, "
        "neutral 1 / 1708, sadness 1 / 1084; in all 6 / 7380"
    ) in lines
    assert any(
        line.endswith("happiness 2 / 1636, neutral 1 / 1708, sadness 1 / 1084; in all 5 / 5531") for line in lines
    )
    notes = {row["id"]: " ".join(row["notes"]) for row in store.rows}
    assert "Ses04F_impro02.avi" in notes["Ses04F_impro02_M000"], "a broken picture does not cost the sound"
    assert "Ses01M_script01_1_M000.wav" in notes["Ses01M_script01_1_M000"], "nor a broken sound the picture"


def test_the_speakers_own_half_and_channel(prepared: tuple[Path, list[str]]):
    store = Store(prepared[0])
    rows = {row["id"]: number for number, row in enumerate(store.rows)}
    for id, row in rows.items():
        faces = store.array(row, "faces")
        if faces is None:
            continue
        start_s, end_s = store.rows[row]["start_s"], store.rows[row]["end_s"]
        assert len(faces) == int(np.ceil((end_s - start_s) / 0.5 - 1e-9)), id
        red, _, blue = faces.astype(float).mean((2, 3)).T
        mine, other = (red, blue) if id[5] == id.rsplit("_", 1)[1][0] else (blue, red)
        # The picture shown at a time says that time by its brightness.
        asked = start_s + 0.5 * np.arange(len(faces))
        np.testing.assert_allclose(mine, 60 + 12 * asked, atol=8)
        assert (other < 25).all(), id
    peaks = {id: mel_peak(store, row) for id, row in rows.items() if store.rows[row]["mel_chunks_count"]}
    # Own files: left 500 Hz, right 2000 Hz. Of M001 the file is missing: 1200 Hz is the dialogue's right channel.
    assert peaks["Ses01F_impro01_F000"] < peaks["Ses01F_impro01_M001"] < peaks["Ses01F_impro01_M000"]
    assert len({peaks[id] for id in ("Ses01F_impro01_F000", "Ses01F_impro01_F001")}) == 1


def counts(dataset: StoreDataset) -> Mapping[str, int]:
    return {name: count for name, count in class_counts(dataset).items() if count}


def test_one_store_serves_every_target(prepared: tuple[Path, list[str]]):
    store = prepared[0]
    six = StoreDataset(store, labelled=True, target="six-class")
    assert six.label_set.names == ("anger", "excitement", "frustration", "happiness", "neutral", "sadness")
    assert counts(six) == dict.fromkeys(six.label_set.names, 1)
    assert Counter(item.reason for item in six.left_out) == {"has no label": 1, "surprise is not part of the target": 1}
    four = StoreDataset(store, labelled=True, target="four-class")
    assert counts(four) == {"anger": 1, "happiness": 2, "neutral": 1, "sadness": 1}
    scales = StoreDataset(store, labelled=True, target="dimensions")
    assert len(scales) == len(Store(store)), "those without a label have values all the same"
    assert scales.label_set.ranges == ((1.0, 5.0),) * 3
    target = scales.targets()[scales.ids.index("Ses01F_impro01_F001")]
    assert target is not None
    assert target.tolist() == pytest.approx([4.3333, 4.0, 3.6667])
    sessions = StoreDataset(store, sessions=["Session1", "Session4"], target="four-class", labelled=True)
    assert sessions.speakers() == {"Ses01F", "Ses01M", "Ses04M"}
    with pytest.raises(ConfigError, match=r"no session 'Session2'.* Its sessions: Session1, Session4, Session5"):
        StoreDataset(store, sessions=["Session2"])


def test_a_change_of_side_or_rating_makes_only_its_own_shard_anew(words_only: Path, tmp_path: Path):
    assert prepare("iemocap", words_only, tmp_path / "store").reused == 0
    assert prepare("iemocap", words_only, tmp_path / "store").reused == 1
    change(evaluation(words_only), "[4.3333, 4.0000", "[4.0000, 4.0000")
    assert prepare("iemocap", words_only, tmp_path / "store").reused == 0
    row = next(r for r in Store(tmp_path / "store").rows if r["id"] == "Ses01F_impro01_F001")
    assert row["scales"] == {"valence": 4.0, "activation": 4.0, "dominance": 3.6667}
    assert row["session"] == "Session1"


def test_values_outside_a_scale_are_left_out_and_named(words_only: Path, tmp_path: Path):
    prepare("iemocap", words_only, tmp_path / "store")
    scales = StoreDataset(tmp_path / "store", labelled=True, target="dimensions")
    assert [(item.id, item.reason) for item in scales.left_out] == [
        ("Ses05M_script03_2_F000", "valence = 5.5 is outside 1.0..5.0")
    ]
