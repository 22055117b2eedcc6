"""CREMA-D in the layout of its authors: what actors meant, what raters voted for, and copies that lack things."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from label_counts import class_counts
from maeum.corpora import LeftOut, make_corpus
from maeum.corpora.targets import Target
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.preparation.prepare import PrepareConfig, PrepareReport, prepare
from maeum.types import Utterance

SILENT = "as distributed, its sound file is silent"
POINTER = "AudioWAV/1064_DFA_DIS_XX.wav is a Git LFS pointer, not the file; the video's sound is taken"


@pytest.fixture
def source(tmp_path: Path, make_crema_d: Callable[..., Path]) -> Path:
    return make_crema_d(tmp_path / "CREMA-D")


def read(source: Path, **options: object) -> tuple[dict[str, Utterance], dict[str, str]]:
    items = list(make_corpus("crema-d", options).items(source))
    used = {item.id: item for item in items if isinstance(item, Utterance)}
    left = {item.id: item.reason for item in items if isinstance(item, LeftOut)}
    assert len(used) + len(left) == len(items)
    return used, left


def test_every_clip_with_what_was_meant_and_what_was_voted(source: Path):
    used, left = read(source)
    assert left == {}
    assert [(u.id, u.label, u.other_labels, u.scales) for u in used.values()] == [
        ("1001_IEO_ANG_HI", "anger", {"face": "anger", "multimodal": "anger"},
         {"face_level": 50.0, "multimodal_level": 70.0, "intended_level": 80.0}),
        ("1001_IEO_HAP_LO", "happiness", {"voice": "neutral", "face": "happiness", "multimodal": "happiness"},
         {"voice_level": 71.67, "face_level": 57.0, "multimodal_level": 57.38, "intended_level": 20.0}),
        ("1001_IEO_NEU_XX", "neutral", {"voice": "neutral", "face": "neutral", "multimodal": "neutral"},
         {"voice_level": 69.1, "face_level": 92.22, "multimodal_level": 64.78}),
        ("1001_TSI_FEA_XX", "fear", {"voice": "fear"}, {"voice_level": 55.0}),
        ("1040_ITH_SAD_XX", "sadness", {"face": "sadness", "multimodal": "neutral"},
         {"face_level": 51.667, "multimodal_level": 44.0}),
        ("1064_DFA_DIS_XX", "disgust", {"voice": "disgust", "face": "disgust", "multimodal": "disgust"},
         {"voice_level": 10.0, "face_level": 20.0, "multimodal_level": 30.0}),
        ("1076_MTI_SAD_XX", "sadness", {"voice": "neutral", "face": "sadness", "multimodal": "sadness"},
         {"voice_level": 80.0, "face_level": 60.0, "multimodal_level": 61.0}),
        ("1091_WSI_HAP_MD", "happiness", {"voice": "happiness", "face": "happiness", "multimodal": "happiness"},
         {"voice_level": 33.5, "face_level": 66.5, "multimodal_level": 50.5, "intended_level": 50.0}),
    ]  # fmt: skip
    assert [(u.text, u.speaker, u.part, u.start_s, u.end_s) for u in list(used.values())[3:]] == [
        ("The surface is slick", "crema-d-1001", "train", 0.0, None),
        ("I think I have a doctor's appointment", "crema-d-1040", "train", 0.0, None),
        ("Don't forget a jacket", "crema-d-1064", "dev", 0.0, None),
        ("Maybe tomorrow it will be cold", "crema-d-1076", "dev", 0.0, None),
        ("We'll stop in a couple of minutes", "crema-d-1091", "test", 0.0, None),
    ]
    files = {
        id: tuple(p and p.relative_to(source).as_posix() for p in (u.recording.video, u.recording.audio))
        for id, u in used.items()
        if u.recording is not None
    }
    assert files["1001_IEO_NEU_XX"] == ("VideoFlash/1001_IEO_NEU_XX.flv", "AudioWAV/1001_IEO_NEU_XX.wav")
    assert files["1040_ITH_SAD_XX"] == ("VideoFlash/1040_ITH_SAD_XX.flv", "AudioWAV/1040_ITH_SAD_X.wav")
    assert files["1064_DFA_DIS_XX"] == ("VideoFlash/1064_DFA_DIS_XX.flv", "VideoFlash/1064_DFA_DIS_XX.flv")
    assert files["1091_WSI_HAP_MD"] == ("VideoFlash/1091_WSI_HAP_MD.mp4", "AudioWAV/1091_WSI_HAP_MD.wav")
    assert {id: u.notes for id, u in used.items() if u.notes} == {
        "1064_DFA_DIS_XX": (POINTER,),
        "1076_MTI_SAD_XX": (SILENT,),
    }
    assert read(source.parent)[0] == used, "the folder around it will do too"


def test_the_real_tables(tmp_path: Path, shared_data: Path):
    tables = shared_data / "formats/crema_d_csv"
    for name, place in {"SentenceFilenames": ".", "VideoDemographics": ".", "summaryTable": "processedResults"}.items():
        (tmp_path / place).mkdir(exist_ok=True)
        shutil.copy(tables / f"{name}.csv", tmp_path / place)
    (tmp_path / "AudioWAV").mkdir()
    for line in (tables / "SentenceFilenames.csv").read_text().splitlines()[1:]:
        name = line.split(",")[1].strip('"')
        (tmp_path / f"AudioWAV/{name}.wav").write_text(name)
    used, left = read(tmp_path)
    assert left == {}
    corpus = make_corpus("crema-d")
    assert len(used) == sum(corpus.label_counts.values()) == 7442
    assert len({u.speaker for u in used.values()}) == 91
    assert Counter(u.label for u in used.values()) == corpus.label_counts
    # The table says "A" or "A:D" in its 4th, 6th and 8th field; counted here by its text alone.
    rows = [line.split('","') for line in (tables / "summaryTable.csv").read_text().splitlines()[1:]]
    letters = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "S": "sadness", "N": "neutral"}
    for kind, column in (("voice", 2), ("face", 4), ("multimodal", 6)):
        voted = Counter(letters[row[column]] for row in rows if ":" not in row[column])
        assert Counter((u.other_labels or {}).get(kind, "none") for u in used.values()) == {
            **voted,
            "none": 7442 - voted.total(),
        }
        assert corpus.other_label_counts[kind] == voted
    assert {u.notes for u in used.values()} == {
        (),
        (SILENT,),
        ("as distributed, this recording holds the sentence in several emotions",),
    }


def test_copies_that_lack_files(source: Path):
    (source / "VideoFlash/1001_IEO_NEU_XX.flv").unlink()
    (source / "AudioWAV/1001_IEO_HAP_LO.wav").unlink()
    (source / "AudioWAV/1001_IEO_ANG_HI.wav").write_bytes(b"")
    (source / "AudioMP3/1001_IEO_ANG_HI.mp3").write_bytes(b"ID3")
    for path in (*source.rglob("1040_*"), source / "VideoFlash/1064_DFA_DIS_XX.flv"):
        path.unlink()
    shutil.copy(source / "AudioWAV/1001_TSI_FEA_XX.wav", source / "AudioWAV/1002_TSI_FEA_XX.wav")
    (source / "AudioWAV/readme.txt").write_text("")
    (source / "AudioWAV/1001_ABC_FEA_XX.wav").write_text("")
    used, left = read(source)
    assert left == {
        "1040_ITH_SAD_XX": "no such file: neither picture nor sound",
        "1064_DFA_DIS_XX": "AudioWAV/1064_DFA_DIS_XX.wav is a Git LFS pointer, not the file",
        "AudioWAV/1001_ABC_FEA_XX.wav": "the name does not follow the scheme of CREMA-D",
        "AudioWAV/readme.txt": "the name does not follow the scheme of CREMA-D",
    }
    assert {id: u.notes for id, u in used.items() if u.notes} == {
        "1001_IEO_ANG_HI": ("AudioWAV/1001_IEO_ANG_HI.wav is empty; 1001_IEO_ANG_HI.mp3 is taken",),
        "1001_IEO_HAP_LO": ("its sound file is missing; the video's sound is taken",),
        "1001_IEO_NEU_XX": ("no picture: its file in VideoFlash is missing",),
        "1002_TSI_FEA_XX": (
            "no picture: its file in VideoFlash is missing",
            "it is not in SentenceFilenames.csv",
            "actor 1002 is not in VideoDemographics.csv",
            "it is not in processedResults/summaryTable.csv, so that it has no votes",
        ),
        "1076_MTI_SAD_XX": (SILENT,),
    }


def test_sounds_alone_without_tables(source: Path):
    shutil.rmtree(source / "VideoFlash")
    shutil.rmtree(source / "processedResults")
    (source / "SentenceFilenames.csv").unlink()
    used, left = read(source, transcripts=False)
    assert left == {
        "processedResults/summaryTable.csv": "the table is missing, so that no clip has votes",
        "1064_DFA_DIS_XX": "AudioWAV/1064_DFA_DIS_XX.wav is a Git LFS pointer, not the file",
    }
    assert len(used) == 7
    assert {(u.text, u.other_labels) for u in used.values()} == {(None, None)}
    assert {u.notes for u in used.values()} == {(), (SILENT,)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"A:D","60:40.5"', '"A:X","60:40.5"', r"line 4: 1001_IEO_ANG_HI: voicevote 'A:X' with voicelevel '60:40.5'"),
        ('"A:D","60:40.5"', '"A:D","60"', "line 4: .* as many levels"),
        ('"A:D","60:40.5"', '"A:D","60:140"', "line 4: .* from 0 to 100"),
        ('"N","69.1"', '"N",""', "line 2: 1001_IEO_NEU_XX: voicevote 'N' with voicelevel ''"),
        ("1001_IEO_HAP_LO", "1001_IEO_NEU_XX", "line 3: 1001_IEO_NEU_XX is listed twice"),
        ("1001_IEO_HAP_LO", "1001_IEO_JOY_LO", "line 3: '1001_IEO_JOY_LO' is no clip of CREMA-D"),
        ("VoiceVote", "Voice", "has no column 'voicevote'"),
    ],
)
def test_a_summary_that_cannot_be_right(source: Path, old: str, new: str, message: str):
    table = source / "processedResults/summaryTable.csv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(CorpusError, match=rf"summaryTable\.csv.*{message}"):
        read(source)


def test_another_folder_is_explained(tmp_path: Path, source: Path):
    for wrong in (tmp_path / "nowhere", source / "AudioWAV"):
        with pytest.raises(CorpusError, match="Give the folder that holds AudioWAV and VideoFlash"):
            read(wrong)
    with pytest.raises(ConfigError, match=r"actors \[1091\] are in dev and in test"):
        read(source, dev_actors=[1091])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, make_crema_d: Callable[..., Path]) -> PrepareReport:
    folder = tmp_path_factory.mktemp("crema-d")
    settings = PrepareConfig(no_face="centre-crop")
    return prepare("crema-d", make_crema_d(folder / "source"), folder / "store", settings)


def test_the_account_and_what_was_published(prepared: PrepareReport):
    account = prepared.account
    assert (account["items"], account["used"]) == (8, 8)
    assert account["modalities"] == {"faces": 7, "speech": 8, "text": 8}
    lines = prepared.lines()
    assert (
        "  intended, found / published: anger 1 / 1271, disgust 1 / 1271, fear 1 / 1271, happiness 2 / 1271, "
        "sadness 2 / 1271, neutral 1 / 1087; in all 8 / 7442"
    ) in lines
    assert any(line.startswith("  voice, found /") and line.endswith("in all 6 / 6798") for line in lines)
    assert any(line.startswith("  face, found /") and line.endswith("in all 7 / 6972") for line in lines)
    assert any(line.startswith("  multimodal, found /") and line.endswith("in all 7 / 7022") for line in lines)
    notes = {row["id"]: " ".join(row["notes"]) for row in Store(prepared.store).rows}
    assert "1076_MTI_SAD_XX.flv" in notes["1076_MTI_SAD_XX"], "a broken picture does not cost the sound"


def test_pictures_and_sound_are_the_clips_own(prepared: PrepareReport):
    store = Store(prepared.store)
    peaks = {}
    for number, row in enumerate(store.rows):
        mel_chunks = store.array(number, "mel_chunks")
        assert mel_chunks is not None
        peaks[row["id"]] = int(mel_chunks[1, 0].astype(np.float32).mean(1).argmax())
    # The wav's pitch rises from clip to clip; the video's own sound, taken where the wav is a pointer, is far above.
    order = ["1001_IEO_NEU_XX", "1001_IEO_HAP_LO", "1001_IEO_ANG_HI", "1001_TSI_FEA_XX", "1040_ITH_SAD_XX"]
    assert [peaks[id] for id in order] == sorted({peaks[id] for id in order})
    assert max(peaks, key=peaks.__getitem__) == "1064_DFA_DIS_XX"
    faces = {row["id"]: store.array(number, "faces") for number, row in enumerate(store.rows)}
    assert faces["1076_MTI_SAD_XX"] is None
    for id, number, frames in (("1001_IEO_NEU_XX", 0, 2), ("1001_IEO_ANG_HI", 2, 4), ("1091_WSI_HAP_MD", 7, 3)):
        found = faces[id]
        assert found is not None
        assert len(found) == frames
        np.testing.assert_allclose(found.mean(), 60 + 20 * number, atol=6)


def test_a_recipe_chooses_whose_label_is_learned(prepared: PrepareReport):
    intended = StoreDataset(prepared.store, labelled=True, target="intended")
    assert class_counts(intended) == {
        "anger": 1, "disgust": 1, "fear": 1, "happiness": 2, "sadness": 2, "neutral": 1,
    }  # fmt: skip
    voice = StoreDataset(prepared.store, labelled=True, target="voice")
    assert class_counts(voice) == {"anger": 0, "disgust": 1, "fear": 1, "happiness": 1, "sadness": 0, "neutral": 3}
    assert [(i.id, i.reason) for i in voice.left_out] == [
        ("1001_IEO_ANG_HI", "has no label of the kind voice"),
        ("1040_ITH_SAD_XX", "has no label of the kind voice"),
    ]
    levels = StoreDataset(prepared.store, labelled=True, target="face-level")
    assert len(levels) == 7
    meant = StoreDataset(prepared.store, labelled=True, target=Target(scales=("intended_level",)))
    assert dict(zip(meant.ids, [t.tolist() for t in meant.targets() if t is not None], strict=True)) == {
        "1001_IEO_ANG_HI": [80.0],
        "1001_IEO_HAP_LO": [20.0],
        "1091_WSI_HAP_MD": [50.0],
    }
    row = next(r for r in Store(prepared.store).rows if r["id"] == "1001_TSI_FEA_XX")
    assert row["other_labels"] == {"voice": "fear"}
