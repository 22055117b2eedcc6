"""MMER from a miniature IEMOCAP to scores, through all five folds, with tiny encoders of the real classes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError, StoreError
from maeum.models.encoders.speech import SoundReader
from maeum.models.encoders.text import HubTextEncoder
from maeum.models.pretrained import load_pretrained
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.reports.report import compare
from maeum.runs.evaluate import evaluate
from maeum.runs.recipe import Recipe
from maeum.runs.train import train
from maeum.studies.reproduce import REPRODUCTIONS
from maeum.studies.study import Study, first_fold, score_all, train_all, variants

WORDS = {"hap": "what a lovely day", "ang": "leave me alone now", "neu": "it is half past five", "sad": "so sad i cry"}
SESSIONS = [f"Session{i}" for i in range(1, 6)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_sessions: Callable[..., Path]) -> Path:
    return make_sessions(tmp_path_factory.mktemp("iemocap"), WORDS)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wav2vec2 and a RoBERTa in folders as the hub's, with random weights."""
    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    speech = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8, 8, 8, 8],
        conv_kernel=[10, 8, 4, 4], conv_stride=[5, 4, 4, 2], num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    Wav2Vec2Model(speech).save_pretrained(folder / "wav2vec2")
    Wav2Vec2FeatureExtractor().save_pretrained(folder / "wav2vec2")
    mel_chunks = ["<s>", "<pad>", "</s>", "<unk>", *map(chr, range(97, 123)), "\u0120"]
    (folder / "vocab.json").write_text(json.dumps({mel_chunk: i for i, mel_chunk in enumerate(mel_chunks)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    text = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=60, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(text).save_pretrained(folder / "roberta")
    tokenizer.save_pretrained(folder / "roberta")
    return folder / "wav2vec2", folder / "roberta"


def recipe(store: Path, encoders: tuple[Path, Path], test: str = "Session5", **changes: Any) -> Recipe:
    speech, text = map(str, encoders)
    tenth = {"weight": 0.1}
    losses = {"ctc": tenth, "supervised-contrastive": {**tenth, "memory": 8}, "augmented-contrastive": tenth}
    settings = {
        "epochs": 2,
        "batch_size": 4,
        "lr": 0.003,
        "schedule": "constant",
        "warmup": 0.0,
        "loss": "cross-entropy",
        "precision": "fp32",
    }
    training = {**settings, "losses": losses, "checkpoint_every_s": 0.0}
    data = [{"store": str(store), "modalities": ["speech", "text"]}]
    return Recipe.parse(
        {
            "name": "mmer",
            "model": "mmer",
            "target": "four-class",
            "split": {"kind": "leave-one-out", "by": "session", "test": test},
            "network": {
                "dim": 16, "heads": 2, "feedforward": 24, "project": 8,
                "speech": {"kind": "hub", "pretrained": speech}, "text": {"kind": "hub", "pretrained": text},
            },
            "tokenizer": {"kind": "hub", "pretrained": text},
            "inputs": {"sound": "wave", "max_tokens": 50},
            "train": data,
            "dev": data,
            "augment": {"view": {"text": None}},
            "cache_text": True,
            "training": {**training, **changes.pop("training", {})},
            **changes,
        }
    )  # fmt: skip


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def folds(store: Path, encoders: tuple[Path, Path], **changes: Any) -> Study:
    shared = recipe(store, encoders).model_dump(mode="json", exclude={"name", "model", "score"})
    settings = {"name": "folds", "title": "Five folds", "part": "test", "seeds": 1, "metrics": ["accuracy"],
                "folds": SESSIONS, "shared": shared,
                "entries": {"mmer": {"title": "MMER", "model": "mmer"}}}  # fmt: skip
    return Study.parse({**settings, **changes})


def test_all_five_folds_train_and_are_scored_on_the_session_left_out(
    store: Path, encoders: tuple[Path, Path], tmp_path: Path
) -> None:
    study = folds(store, encoders)
    page = REPRODUCTIONS["mmer/table"](study, tmp_path, "cpu", None)
    sessions = {row["id"]: row["session"] for row in Store(store).rows}
    right: list[bool] = []
    for fold in SESSIONS:
        run = tmp_path / "folds" / "mmer" / "seed-0" / fold
        line = log(run)[-1]
        assert {"loss_ctc", "loss_supervised", "loss_augmented"} <= set(line)
        scored = evaluate(run / "model", store, "test", features=True)
        assert {sessions[id] for id in scored.predictions.ids} == {fold}
        assert not scored.report.overlap
        assert not any("best epoch" in note for note in scored.report.notes)
        right += (scored.predictions.logits.argmax(1) == scored.predictions.target).tolist()
        trained = load_pretrained(run / "model")
        assert trained.settings.sound == "wave"
        assert not any(p.requires_grad for p in trained.model.parameters())
    assert len(right) == len(sessions)
    explained = compare([scored]).files()  # which class is taken for which, how sure, and every answer
    (answers,) = (text for name, text in explained.items() if name.startswith("answers-"))
    assert all(id in answers for id in scored.predictions.ids)
    assert "confusion" in explained["report.html"].lower()
    (row,) = page.numbers["rows"]
    assert row["scores"]["accuracy"]["mean"] == pytest.approx(sum(right) / len(right))
    assert f"{len(sessions)} items" in page.markdown
    assert "5 folds" in page.markdown
    alone, first = first_fold(study, variants(study, ["mmer"]))
    assert "the fold of Session1 alone" in alone.title
    (of_first,) = score_all(alone, train_all(alone, first, tmp_path)[0], features=True)
    assert {sessions[id] for id in of_first.predictions.ids} == {"Session1"}
    assert of_first.predictions.features is not None


def test_the_published_protocol_says_so_in_its_scores(store: Path, encoders: tuple[Path, Path], tmp_path: Path) -> None:
    shared = recipe(store, encoders, training={"epochs": 1}).model_dump(mode="json", exclude={"name", "model", "score"})
    study = folds(store, encoders, protocol="published", shared=shared)
    (runs,) = train_all(study, variants(study, ["mmer"]), tmp_path)
    (scored,) = score_all(study, runs)
    assert len(scored.predictions) == len(Store(store).rows)
    everything = len(Store(store).rows)
    assert f"on {everything} of these items the model's best epoch was chosen" in scored.report.notes
    assert "protocol: published" in REPRODUCTIONS["mmer/table"](study, tmp_path, "cpu", None).markdown
    seen = json.loads((tmp_path / "folds" / "mmer" / "seed-0" / "published-Session2" / "recipe.json").read_text())
    assert seen["train"][0]["sessions"] == [s for s in SESSIONS if s != "Session2"]
    assert seen["dev"][0]["sessions"] == ["Session2"]


def test_folds_that_do_not_fit_are_refused(store: Path, encoders: tuple[Path, Path]) -> None:
    for changes, said in [
        ({"part": "dev"}, "part has to be test"),
        ({"folds": ["Session1"]}, "two or more"),
        ({"folds": [], "protocol": "published"}, "needs folds"),
    ]:
        with pytest.raises(ConfigError, match=said):
            folds(store, encoders, **changes)
    with pytest.raises(CorpusError, match="no session 'Sesion5'"):
        variants(folds(store, encoders, folds=["Session1", "Sesion5"]), ["mmer"])
    by_speaker = {"kind": "leave-one-out", "by": "speaker", "test": "Ses01F"}
    shared = recipe(store, encoders, split=by_speaker).model_dump(mode="json", exclude={"name", "model"})
    with pytest.raises(ConfigError, match="leaves sessions out, not speakers or groups"):
        variants(folds(store, encoders, shared=shared, protocol="published", folds=["Ses01F", "Ses02F"]), ["mmer"])
    named = {"kind": "leave-one-out", "test": "Session1", "dev": "Session2"}
    shared = recipe(store, encoders, split=named).model_dump(mode="json", exclude={"name", "model"})
    with pytest.raises(ConfigError, match="names a dev fold"):
        variants(folds(store, encoders, shared=shared), ["mmer"])
    drawn = recipe(store, encoders, split={"kind": "random"}).model_dump(mode="json", exclude={"name", "model"})
    with pytest.raises(ConfigError, match="leaves nothing out in turn"):
        variants(folds(store, encoders, shared=drawn), ["mmer"])


@pytest.mark.trains
def test_a_killed_run_goes_on_exactly(store: Path, encoders: tuple[Path, Path], tmp_path: Path) -> None:
    settings = recipe(store, encoders, training={"epochs": 6})
    settings.save(tmp_path / "recipe.json")
    train(settings, tmp_path / "whole")
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", "from maeum.cli import main; main()", "train", str(tmp_path / "recipe.json"),
               "--out", str(killed)]  # fmt: skip
    alike = {**os.environ, "OMP_NUM_THREADS": "1"}  # as tests do: sums over several threads differ in their last digits
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=alike) as process:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if (killed / "log.jsonl").exists() and len(log(killed)) >= 2:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
    assert 2 <= len(log(killed)) < 6, "it was over before it could be killed"
    train(settings, killed)
    assert {line["epoch"]: line for line in log(killed)} == {line["epoch"]: line for line in log(tmp_path / "whole")}
    a, b = (load_pretrained(run / "model").model.state_dict() for run in (killed, tmp_path / "whole"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_frozen_parts_do_not_move_and_the_others_do(store: Path, encoders: tuple[Path, Path], tmp_path: Path) -> None:
    trained = load_pretrained(train(recipe(store, encoders, training={"epochs": 1}), tmp_path).model).model
    before = Wav2Vec2Model.from_pretrained(encoders[0]).state_dict()
    text = RobertaModel.from_pretrained(encoders[1]).state_dict()
    moved = set()
    for name, tensor in trained.state_dict().items():
        for prefix, old in (("encoders.speech.model.", before), ("encoders.text.model.", text)):
            if name.startswith(prefix) and not torch.equal(tensor, old[name.removeprefix(prefix)]):
                moved.add(name.removeprefix("encoders.").split(".")[0] + "." + name.removeprefix(prefix).split(".")[0])
    assert moved == {"speech.encoder", "speech.feature_projection", "speech.masked_spec_embed"}


def test_a_store_without_the_sound_itself_is_refused(
    store: Path, encoders: tuple[Path, Path], tmp_path: Path, make_iemocap: Callable[..., Path]
) -> None:
    make_iemocap(tmp_path / "source")
    prepare("iemocap", tmp_path / "source", tmp_path / "store", PrepareConfig(wave=False))
    with pytest.raises(StoreError, match=r"does not keep the sound itself.*--no-wave"):
        train(recipe(tmp_path / "store", encoders), tmp_path / "run")


def test_what_the_sound_says_and_the_sound_are_in_the_store(store: Path) -> None:
    data = StoreDataset(store, sound="wave", modalities=("speech", "text"))
    clip = data[0]
    assert clip.wave is not None
    assert clip.mel_chunks is None
    assert len(clip.wave) == pytest.approx(16_000, abs=200)
    assert 0.05 < clip.wave.abs().max() <= 1
    assert clip.spoken_text == clip.text == data.spoken_texts()[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"augment": {}}, "no augmented views"),
        ({"augment": {"view": {}, "mixup": 0.2}}, "mixup"),
        ({"network": {"project": 0}}, "no projection to contrast"),
        ({"augment": {"view": {}, "mel_chunks": {"window": 0.5}}}, "window"),
        (
            {"target": {"scales": ["valence"]}, "score": "mean_ccc", "training": {"loss": "ccc"}},
            "'supervised-contrastive' is not for dimensional targets",
        ),
        ({"network": {"characters": ["", "A"]}, "training": {"losses": {}}}, "never trained"),
        (
            {"training": {"losses": {"ctc": {}, "supervised-contrastive": {"memory": 8, "form": "published"}}}},
            "memory is not part",
        ),
        ({"augment": {"view": {}, "mel_chunks": {}}}, "does not read"),
        ({"inputs": {"sound": "mel_chunks", "max_tokens": 50}}, "speech branch reads wave"),
        ({"network": {"speech": {"kind": "small", "pretrained": None}}}, "network: unknown setting"),
        ({"network": {"text": {"kind": "small"}}}, "frozen, and nothing has trained it"),
        ({"inputs": {"sound": "wave", "max_tokens": 100}}, r"more than the 58.*max_tokens: 58"),
        ({"network": {"heads": 3}}, "network: dim 16 does not divide among 3 heads"),
    ],
)
def test_what_cannot_be_learned_is_refused(
    store: Path, encoders: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    settings = recipe(store, encoders)
    given = settings.model_dump(mode="json")
    for name in ("network", "training"):
        if name in changes:
            changes = {**changes, name: {**given[name], **changes[name]}}
    with pytest.raises(ConfigError, match=problem):
        train(Recipe.parse({**given, **changes}), tmp_path / "run")


def test_kept_sounds_change_nothing_and_are_not_read_again(
    store: Path, encoders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SoundReader.read
    heard: list[int] = []

    def counted(self: SoundReader, wave: Tensor, lengths: Tensor | None) -> Tensor:
        heard.append(len(wave))
        return read(self, wave, lengths)

    monkeypatch.setattr(SoundReader, "read", counted)
    lines, counts = [], []
    for kept in (True, True, False):
        heard.clear()
        settings = recipe(store, encoders, training={"epochs": 1}, augment={"view": {"wave": None}}, cache_speech=kept)
        run = tmp_path / f"{kept}-{len(lines)}"
        train(settings, run)
        lines.append(log(run)[0]["loss"])
        counts.append(sum(heard))
    assert lines[1:] == pytest.approx([lines[0]] * 2, rel=1e-5)
    assert counts[1] == 0 < counts[0] < counts[2]
    run = tmp_path / "True-0" / "model"
    plain = evaluate(run, store, intervals=False).predictions.logits
    heard.clear()
    torch.testing.assert_close(evaluate(run, store, intervals=False, kept=["speech"]).predictions.logits, plain)
    assert not heard
    with pytest.raises(ConfigError, match="varies them every time"):
        train(recipe(store, encoders, cache_speech=True, augment={"view": {}, "wave": {}}), tmp_path / "x")
    settings = recipe(store, encoders, cache_speech=True)
    speech = {**settings.network["speech"], "freeze_features": False}
    learns = settings.model_copy(update={"network": {**settings.network, "speech": speech}})
    with pytest.raises(ConfigError, match="this network has none"):
        train(learns, tmp_path / "x")


def test_kept_texts_change_nothing_and_are_not_read_again(
    store: Path, encoders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = HubTextEncoder.sequence
    read: list[int] = []

    def counted(self: HubTextEncoder, tokens: Tensor, mask: Tensor) -> Tensor:
        read.append(len(tokens))
        return sequence(self, tokens, mask)

    monkeypatch.setattr(HubTextEncoder, "sequence", counted)
    lines, counts = [], []
    for kept in (True, True, False):
        read.clear()
        run = tmp_path / f"{kept}-{len(lines)}"
        train(recipe(store, encoders, training={"epochs": 1}, cache_text=kept), run)
        lines.append(log(run)[0]["loss"])
        counts.append(sum(read))
    assert lines[1:] == pytest.approx([lines[0]] * 2, rel=1e-5)
    assert counts[1] == 0 < counts[2]
    with pytest.raises(ConfigError, match="varies them every time"):
        train(recipe(store, encoders, augment={"view": {}, "text": {}}), tmp_path / "y")
    settings = recipe(store, encoders)
    learns = settings.model_copy(update={"network": {**settings.network, "freeze_text": False}})
    with pytest.raises(ConfigError, match="this network has none"):
        train(learns, tmp_path / "x")


def test_the_words_of_another_model_are_taken_over(store: Path, tmp_path: Path) -> None:
    """Its mel chunks' vectors and what reads them; the summary, which MMER does not make, stays behind."""
    text = {"kind": "small", "vocabulary": 60, "width": 8, "recurrent": 4, "channels": 4, "dim": 8}
    training = {"epochs": 1, "batch_size": 8, "loss": "cross-entropy"}
    words = [{"store": str(store), "modalities": ["text"]}]
    first = {
        "name": "words", "target": "four-class", "network": {"dim": 8, "faces": None, "speech": None, "text": text},
        "tokenizer": {"kind": "small", "vocabulary": 60}, "train": words, "dev": words, "training": training,
    }  # fmt: skip
    source = train(Recipe.parse(first), tmp_path / "words").model
    small = {"kind": "small", "widths": [4, 6], "dim": 8, "heads": 2, "feedforward": 8, "layers": 1}
    both = [{"store": str(store), "modalities": ["speech", "text"]}]
    second = {
        "name": "mmer", "model": "mmer", "target": "four-class", "start_from": {"text": str(source)},
        "network": {"dim": 8, "heads": 2, "feedforward": 8, "project": 0, "speech": small},
        "train": both, "dev": both, "training": training,
    }  # fmt: skip
    model = load_pretrained(train(Recipe.parse(second), tmp_path / "mmer").model)
    theirs, mine = load_pretrained(source).model.state_dict(), model.model.state_dict()
    taken = [name for name in mine if name.startswith("encoders.text.")]
    assert any("recurrent" in name for name in taken)
    assert all(torch.equal(mine[name], theirs[name]) for name in taken), "frozen, so as they came"
    assert model.tokenizer is not None
    with pytest.raises(ConfigError, match="encoder does not fit"):
        train(Recipe.parse({**second, "start_from": {"speech": str(source), "text": str(source)}}), tmp_path / "x")
