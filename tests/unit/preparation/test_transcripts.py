"""Recognised transcripts: made, kept, gone on with, and scored with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)
from typer.testing import CliRunner

from maeum.cli.app import app
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, ModelError, StoreError
from maeum.labels import LabelSet
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.preparation.transcripts import Transcripts, check_error_rate, transcribe
from maeum.runs.evaluate import evaluate
from maeum.studies.reproduce import REPRODUCTIONS
from maeum.studies.study import Study

LABELS = LabelSet(("happiness", "anger", "neutral", "sadness"))
SAID = "A good day, a bad day."
SMALL = {"kind": "small", "widths": [4, 6], "dim": 16, "feedforward": 16}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_sessions: Callable[..., Path]) -> Path:
    words = dict.fromkeys(("hap", "ang", "neu", "sad"), SAID)
    return make_sessions(tmp_path_factory.mktemp("iemocap"), words, rounds=1, numbered=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, make_spelling_mmer: Callable[..., Path]) -> Path:
    """MMER that hears an A in every sound."""
    texts = [f"a good day, a bad day {word}" for word in ("yes", "no", "now", "then")] * 4
    return make_spelling_mmer(tmp_path_factory.mktemp("model"), LABELS.names, SMALL, texts)


def test_a_model_that_spells_transcribes_a_corpus(store: Path, model: Path, tmp_path: Path) -> None:
    made = transcribe(store, model, tmp_path / "transcripts.jsonl")
    assert set(made.texts) == {row["id"] for row in Store(store).rows}
    assert set(made.texts.values()) == {"A"}
    assert Transcripts.read(tmp_path / "transcripts.jsonl") == made
    rate = made.error_rate(Store(store).rows)
    assert rate == (pytest.approx(5 / 6), 20), "one of six words is right, whatever its case"


ROWS = [
    {"id": id, "text": text, "spoken_text": None, "provenance": None}
    for id, text in (
        ("a", "The cat sat on the mat."),
        ("b", "No!"),
        ("c", "Hello"),
        ("d", None),
        ("e", "not recognised"),
    )
]


def test_the_word_error_rate_by_hand() -> None:
    """One word of six is missing, one is another, one of the third is too many: 3 of 8 words."""
    texts = {"a": "the cat sat on mat", "b": "yes", "c": "well hello", "d": "whatever"}
    made = Transcripts("recogniser", "corpus", None, texts)
    assert made.error_rate(ROWS) == (3 / 8, 3)
    assert made.error_rate(ROWS[3:]) is None, "nothing is known of what it recognised"


def test_without_jiwer_a_word_error_rate_is_refused_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maeum.preparation.transcripts.find_spec", lambda _: None)
    made = Transcripts("recogniser", "corpus", None, {"a": "the cat", "d": "whatever"})
    check_error_rate(ROWS[3:4])
    assert made.error_rate(ROWS[3:4]) is None
    for attempt in (check_error_rate, made.error_rate):
        with pytest.raises(
            ConfigError, match=r"jiwer, .*, is not installed\. Run `pip install 'maeum\[transcripts\]'`"
        ):
            attempt(ROWS)


def test_scoring_with_transcripts_is_refused_before_it_begins_without_jiwer(
    store: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribe(store, model, tmp_path / "transcripts.jsonl")
    monkeypatch.setattr("maeum.preparation.transcripts.find_spec", lambda _: None)
    monkeypatch.setattr("maeum.runs.evaluate.predict_pretrained", None)
    with pytest.raises(ConfigError, match="is not installed"):
        evaluate(model, store, transcripts=tmp_path / "transcripts.jsonl")


def test_transcripts_are_made_without_jiwer_and_no_rate_is_printed(
    store: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maeum.preparation.transcripts.find_spec", lambda _: None)
    out = tmp_path / "transcripts.jsonl"
    done = CliRunner().invoke(app, ["transcribe", str(store), "--model", str(model), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "no word error rate: jiwer, which computes word error rates, is not installed" in done.output
    assert len(Transcripts.read(out).texts) == len(Store(store))


def test_an_interrupted_run_goes_on_where_it_stood(store: Path, model: Path, tmp_path: Path) -> None:
    whole = transcribe(store, model, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text().splitlines()
    known = json.dumps({**json.loads(lines[1]), "text": "kept as it is"})
    (tmp_path / "cut.jsonl").write_text("\n".join([lines[0], known, lines[2][:9]]))  # killed in the middle of a line
    again = transcribe(store, model, tmp_path / "cut.jsonl")
    first = json.loads(lines[1])["id"]
    assert again.texts == {**whole.texts, first: "kept as it is"}
    shutil.copytree(model, tmp_path / "other")
    with pytest.raises(ConfigError, match="was made by"):
        transcribe(store, tmp_path / "other", tmp_path / "cut.jsonl")
    (tmp_path / "mine.txt").write_text("something else, without an end of line")
    with pytest.raises(ConfigError, match="holds no recognised transcripts"):
        transcribe(store, model, tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "something else, without an end of line"
    (tmp_path / "bad.jsonl").write_text("no json\n")
    with pytest.raises(ConfigError, match="holds no recognised transcripts"):
        Transcripts.read(tmp_path / "bad.jsonl")
    with pytest.raises(ConfigError, match=r"none\.jsonl: no such file"):
        Transcripts.read(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="embedded: has no CTC head"):
        transcribe(store, "embedded", tmp_path / "x.jsonl")


def test_a_recogniser_of_the_hub_transcribes_too(
    store: Path, tmp_path: Path, make_iemocap: Callable[..., Path]
) -> None:
    torch.manual_seed(0)
    (tmp_path / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(["<pad>", "|", "A", "B", "<unk>"])}))
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), pad_token="<pad>", unk_token="<unk>", bos_token=None,
                                     eos_token=None)  # fmt: skip
    config = Wav2Vec2Config(
        vocab_size=5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8, 8],
        conv_kernel=[10, 8], conv_stride=[10, 16], num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    ctc = Wav2Vec2ForCTC(config)
    with torch.no_grad():
        ctc.lm_head.weight.zero_()
        ctc.lm_head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 5.0, 0.0]))
    ctc.save_pretrained(tmp_path / "ctc")
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(tmp_path / "ctc")
    made = transcribe(store, tmp_path / "ctc", tmp_path / "transcripts.jsonl")
    assert set(made.texts.values()) == {"B"}
    ctc.wav2vec2.save_pretrained(tmp_path / "encoder")
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ModelError, match="recognises no speech"):
        transcribe(store, tmp_path / "encoder", tmp_path / "no.jsonl")
    make_iemocap(tmp_path / "source")
    prepare("iemocap", tmp_path / "source", tmp_path / "plain", PrepareConfig(wave=False))
    with pytest.raises(StoreError, match="--no-wave"):
        transcribe(tmp_path / "plain", tmp_path / "ctc", tmp_path / "no.jsonl")


def test_recognised_words_are_read_instead(store: Path, model: Path, tmp_path: Path) -> None:
    transcribe(store, model, tmp_path / "transcripts.jsonl")
    said = {**Transcripts.read(tmp_path / "transcripts.jsonl").texts}
    silent = next(iter(said))
    said[silent] = ""
    with pytest.raises(StoreError, match="none of its utterances is in the transcripts"):
        StoreDataset(store, transcripts={"somebody": "else"})
    data = StoreDataset(store, transcripts=said)
    clips = {clip.id: clip for clip in (data[i] for i in range(len(data)))}
    assert not clips[silent].text
    assert {clip.text for clip in clips.values()} == {"A", ""}
    assert {clip.spoken_text for clip in clips.values()} == {SAID}
    given = evaluate(model, store, "dev", target="four-class", intervals=False)
    heard = evaluate(
        model, store, "dev", target="four-class", intervals=False, transcripts=tmp_path / "transcripts.jsonl"
    )
    assert not torch.equal(given.predictions.logits, heard.predictions.logits)
    assert heard.report.notes[0].startswith(f"words were recognised by {model}: word error rate 0.833 of 4 items")
    assert not any("recognised" in note for note in given.report.notes)


def study_settings(store: Path, transcripts: Path) -> dict[str, Any]:
    text = {"kind": "small", "vocabulary": 60, "width": 8}
    return {
        "name": "made", "title": "Made up", "seeds": 1, "metrics": ["accuracy"], "transcripts": str(transcripts),
        "shared": {
            "target": "four-class",
            "train": [{"store": str(store), "modalities": ["speech", "text"]}],
            "dev": [{"store": str(store), "modalities": ["speech", "text"]}],
            "tokenizer": {"kind": "small", "vocabulary": 60},
            "network": {"dim": 8, "heads": 2, "feedforward": 8, "project": 0, "freeze_text": False,
                        "speech": SMALL, "text": text},
            "training": {"epochs": 1, "batch_size": 4, "loss": "cross-entropy"},
        },
        "entries": {"mmer": {"title": "MMER", "model": "mmer"}},
    }  # fmt: skip


@pytest.mark.parametrize("named", ["study", "dev"])
def test_a_study_with_transcripts_trains_nothing_without_jiwer(
    named: str, store: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trained every network and only then noticed that their words cannot be scored."""
    transcribe(store, model, tmp_path / "transcripts.jsonl")
    settings = study_settings(store, tmp_path / "transcripts.jsonl")
    if named == "dev":
        settings["shared"]["dev"][0]["transcripts"] = settings.pop("transcripts")
    monkeypatch.setattr("maeum.preparation.transcripts.find_spec", lambda _: None)
    page = REPRODUCTIONS["mmer/transcripts" if named == "study" else "mmer/table"]
    with pytest.raises(ConfigError, match=r"jiwer, .*, is not installed"):
        page(Study.parse(settings), tmp_path / "runs", "cpu", None)
    assert not (tmp_path / "runs").exists()


def test_the_gap_between_given_and_recognised_words_is_a_page(store: Path, model: Path, tmp_path: Path) -> None:
    transcribe(store, model, tmp_path / "transcripts.jsonl")
    settings = study_settings(store, tmp_path / "transcripts.jsonl")
    page = REPRODUCTIONS["mmer/transcripts"](Study.parse(settings), tmp_path / "runs", "cpu", None)
    row = page.numbers["rows"][0]
    gap = row["recognised"]["accuracy"]["mean"] - row["given"]["accuracy"]["mean"]
    assert row["gap"]["mean"] == pytest.approx(gap)
    assert "word error rate 0.833" in page.markdown
    with pytest.raises(ConfigError, match="names no recognised transcripts"):
        REPRODUCTIONS["mmer/transcripts"](
            Study.parse({**settings, "transcripts": None}), tmp_path / "runs", "cpu", None
        )
