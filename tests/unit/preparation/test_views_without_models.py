"""Views in other words by phrases and in the voices of a program, of utterances and of collages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maeum.data.dataset import StoreDataset
from maeum.data.shards import StoreItem, digest
from maeum.data.store import Store
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError, ModelError, RenamedSettingWarning, StoreError
from maeum.labels import EKMAN
from maeum.media.mel import to_mel_chunks
from maeum.models.synthesis.paraphrase import BackTranslation
from maeum.models.synthesis.phrases import PhrasesConfig
from maeum.preparation.views import ViewsConfig, make_views
from maeum.types import Utterance

#: Writes so many samples at 16 kHz as its text has signs, times 800, as loud as its voice says.
PROGRAM = """
import sys, wave
voice, text, wav = sys.argv[1:]
words = open(text, encoding="utf-8").read().strip()
if words == "fail":
    sys.exit("cannot say it")
with wave.open(wav, "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(16000)
    level = 0 if words == "..." else 1000 * int(voice)
    file.writeframes(b"".join((level * (-1) ** i).to_bytes(2, "little", signed=True) for i in range(800 * len(words))))
"""


def make_store(folder: Path, rows: list[tuple[str, str | None, str | None, bool]]) -> Path:
    """Of id, text, spoken text and whether it is a collage; all by one speaker."""
    with StoreWriter(folder, {"corpus": "little"}) as out:
        path = out.shard_path([id for id, *_ in rows])
        write_shard(path, (_item(*row) for row in rows))
        labels = {"name": "little", "title": "Little", "licence": "free", "citation": "None.", "modalities": ["speech"],
                  "label_set": EKMAN.to_dict()}  # fmt: skip
        out.finish([path], labels)
    return folder


def _item(id: str, text: str | None, spoken: str | None, composed: bool) -> StoreItem:
    wave = (np.sin(np.arange(16_000) / 20) * 3000).astype(np.int16)
    mel = to_mel_chunks(wave.astype(np.float32) / 32768).numpy().astype(np.float16)
    provenance = {"voice": "a:1", "sentence": "b:2"} if composed else {}
    return StoreItem(Utterance(id=id, part="train", speaker="one", text=text, label="anger"), mel_chunks=mel, wave=wave,
                     content=digest(id), provenance=provenance, spoken_text=spoken)  # fmt: skip


@pytest.fixture
def tts(tmp_path: Path) -> dict[str, Any]:
    program = tmp_path / "speaker.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), "{voice}", "{text_file}", "{wav}"]
    return {"kind": "command", "command": command, "voices": ["1", "2", "3"]}


RULES = {"kind": "phrases", "rules": "english"}


def test_a_program_speaks_the_paraphrase_in_a_voice_of_its_own(tmp_path: Path, tts: dict[str, Any]) -> None:
    """Nobody else is needed in the session, and nobody is counted as heard."""
    rows = [(f"u{i}", f"Maybe kids know it {i}", None, False) for i in range(12)]
    store = make_store(tmp_path / "store", [*rows, ("plain", "Nothing fits", None, False)])
    config = ViewsConfig.parse({"paraphrase": RULES, "tts": tts})
    report = make_views(store, tmp_path / "views", config)
    assert (report.made, report.left_out, report.same_words) == (13, 0, 1)
    views = Store(tmp_path / "views")
    for number, row in enumerate(views.rows):
        assert row["provenance"]["view"] == row["id"]
        assert set(row["provenance"]) == {"view", "tts"}
        voice = row["provenance"]["tts"].rpartition(" ")[2]
        wave = views.wave(number)
        assert wave is not None
        assert np.abs(wave).max() == pytest.approx(1000 * int(voice) / 32768, abs=1e-4)
        assert len(wave) == 800 * len(row["text"])
        assert row["spoken_text"] == row["text"]
        assert row["notes"] == (["same words: no phrase fits"] if row["id"] == "plain" else [])
    assert {row["provenance"]["tts"].rpartition(" ")[2] for row in views.rows} == {"1", "2", "3"}
    assert {row["text"] for row in views.rows[:12]} & {f"Perhaps children know it {i}" for i in range(12)}
    assert "english rules, spoken by" in views.manifest["notes"][0]
    assert "in the voices 1, 2, 3" in views.manifest["notes"][0]
    with_views, alone = StoreDataset(store, "train", views=tmp_path / "views"), StoreDataset(store, "train")
    assert [set(m.keys("utterance")) for m in with_views.members()] == [
        set(m.keys("utterance")) for m in alone.members()
    ]
    again = make_views(store, tmp_path / "again", config)
    assert again.made == 13
    assert [row["content"] for row in Store(tmp_path / "again").rows] == [row["content"] for row in views.rows]


def test_a_collage_keeps_what_is_read_apart_from_what_is_spoken(tmp_path: Path, tts: dict[str, Any]) -> None:
    rows: list[tuple[str, str | None, str | None, bool]] = [
        ("both", "[NAME] is awesome", "kids", True),
        ("no-rule", "[NAME] sleeps", "kids", True),
        ("one-text", "awesome", "awesome", True),
        ("unread", None, "kids", True),
        ("unknown", "[NAME] is awesome", None, True),
        ("noted", "kids [LAUGHTER]", None, False),
    ]
    store = make_store(tmp_path / "store", rows)
    report = make_views(store, tmp_path / "views", ViewsConfig.parse({"paraphrase": RULES, "tts": tts}))
    assert (report.made, report.left_out, report.same_words) == (5, 1, 1)
    views = Store(tmp_path / "views")
    made = {row["id"]: (row["text"], row["spoken_text"], row["wave_count"] // 800) for row in views.rows}
    assert made == {
        "both": ("[NAME] is amazing", "children", 8),
        "no-rule": ("[NAME] sleeps", "children", 8),
        "one-text": ("amazing", "amazing", 7),
        "unread": ("children", "children", 8),
        "noted": ("children", "children", 8),
    }
    assert views.manifest["left_out"][0]["reason"] == "its words are not known"
    make_views(store, tmp_path / "varied", ViewsConfig.parse({"paraphrase": RULES}))
    varied = {row["id"]: (row["text"], row["spoken_text"]) for row in Store(tmp_path / "varied").rows}
    assert varied["both"] == ("[NAME] is amazing", "kids"), "the recording itself says its own words"


def test_a_text_without_a_sound_is_left_out_and_a_failure_stops(tmp_path: Path, tts: dict[str, Any]) -> None:
    store = make_store(tmp_path / "store", [("a", "...", None, False), ("b", "kids", None, False)])
    report = make_views(store, tmp_path / "views", ViewsConfig.parse({"tts": tts}))
    assert (report.made, report.left_out) == (1, 1)
    assert "gave no sound" in Store(tmp_path / "views").manifest["left_out"][0]["reason"]
    fails = make_store(tmp_path / "fails", [("c", "fail", None, False)])
    with pytest.raises(ModelError, match="cannot say it"):
        make_views(fails, tmp_path / "no-views", ViewsConfig.parse({"tts": tts}))


def test_another_table_is_another_setting(tmp_path: Path, tts: dict[str, Any]) -> None:
    store = make_store(tmp_path / "store", [("a", "kids", None, False)])
    table = tmp_path / "table.yaml"
    table.write_text("kids: [young ones]")
    config = ViewsConfig.parse({"paraphrase": {"kind": "phrases", "table": str(table)}, "tts": tts})
    make_views(store, tmp_path / "views", config)
    assert Store(tmp_path / "views").rows[0]["text"] == "young ones"
    assert make_views(store, tmp_path / "views", config).reused == 1
    table.write_text("kids: [little ones]")
    with pytest.raises(StoreError, match="other settings"):
        make_views(store, tmp_path / "views", config)


def test_paraphrases_without_a_kind_are_translations() -> None:
    translation = {"to_pivot": {"model": "x"}, "from_pivot": {"model": "y"}}
    config = ViewsConfig.parse({"paraphrase": translation})
    assert isinstance(config.paraphrase, BackTranslation)
    assert config == ViewsConfig.parse({"paraphrase": {"kind": "translation", **translation}})
    assert config == ViewsConfig.parse(config.model_dump(mode="json"))
    assert isinstance(ViewsConfig.parse({"paraphrase": RULES}).paraphrase, PhrasesConfig)
    with pytest.warns(RenamedSettingWarning):
        assert config == ViewsConfig.parse({"paraphrase": {"there": {"model": "x"}, "back": {"model": "y"}}})
    with pytest.raises(ConfigError, match=r"paraphrase\.kind = 'phrase': .*did you mean 'phrases'"):
        ViewsConfig.parse({"paraphrase": {"kind": "phrase"}})
    with pytest.raises(ConfigError, match=r"paraphrase\.to_pivot"):
        ViewsConfig.parse({"paraphrase": {}})
    with pytest.raises(ConfigError, match=r"unknown setting 'paraphrase\.tabel'.*table"):
        ViewsConfig.parse({"paraphrase": {**RULES, "tabel": "x"}})


@pytest.mark.parametrize("name", ["views-english", "views-german"])
def test_the_recipes_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    monkeypatch.chdir(root)
    config = ViewsConfig.load(root / f"recipes/mmer/{name}.yaml")
    assert isinstance(config.paraphrase, PhrasesConfig)
    assert config.paraphrase.table is not None
    assert config.paraphrase.table.is_file()
    assert config.tts.kind == "command"
