"""A network of a third party that knows `Network` alone; its attributes' names mean nothing.

An attribute called ``fusion`` was taken for weights of modalities, so that `evaluate` failed after a finished training;
one called ``config`` was taken for settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import maeum
from maeum.config import Config
from maeum.errors import ConfigError, ModelError
from maeum.models.network import Network
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained
from maeum.models.registry import ModelKind
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.preparation.transcripts import transcribe
from maeum.runs.calibrate import CalibrateConfig, calibrate
from maeum.runs.evaluate import evaluate
from maeum.runs.recipe import Recipe
from maeum.runs.train import train
from maeum.studies.flops import flops
from maeum.types import Batch, Modality, ModelOutput

WORDS = {"happiness": "what a lovely happy day", "sadness": "so sad i could cry", "anger": "leave me alone now"}


class BagConfig(Config):
    """Sizes of `Bag`."""

    labels: int
    width: int = 8


class Bag(Network):
    """The mean of word vectors; its attributes are called as others of maeum's networks are."""

    modalities: tuple[Modality, ...] = ("text",)

    def __init__(self, config: BagConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, config.width)
        self.fusion = nn.Linear(config.width, config.labels)
        self.config = {"neither": "settings", "text": 7}
        self.encoders = self.heads = self.sound = self.top_p = self.characters = "anything"

    def forward(self, batch: Batch) -> ModelOutput:
        if batch.tokens is None or batch.tokens_mask is None:
            raise ModelError("the batch has no text")
        mask = batch.tokens_mask.unsqueeze(2)
        mean = (self.embedding(batch.tokens) * mask).sum(1) / mask.sum(1).clamp(min=1)
        logits: Tensor = self.fusion(mean) * batch.tokens_mask.any(1, keepdim=True)
        return ModelOutput(logits, present={"text": batch.tokens_mask.any(1)})


class Opinionated(Bag):
    """It also says how much its only modality counts."""

    def forward(self, batch: Batch) -> ModelOutput:
        output = super().forward(batch)
        return ModelOutput(
            output.logits,
            modality_logits={"text": output.logits},
            present=output.present,
            shares={"text": output.present["text"].float()},
        )


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    for name, network in (("bag", Bag), ("opinionated", Opinionated)):
        MODELS.register(name)(ModelKind(BagConfig, network, "a third party's"))
    yield
    for name in ("bag", "opinionated"):
        del MODELS._table[name]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rows = ["path,text,label,speaker,part"]
    for i in range(48):
        label = list(WORDS)[i % 3]
        rows.append(f",{WORDS[label]} number {i},{label},s{i},{'dev' if i >= 36 else 'train'}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    prepare("folder", folder, folder / "store", PrepareConfig(options={"labels": list(WORDS)}))
    return folder / "store"


def recipe(store: Path, **changes: Any) -> Recipe:
    training = {
        "epochs": 8,
        "batch_size": 8,
        "lr": 0.05,
        "schedule": "constant",
        "warmup": 0.0,
        "class_weights": False,
        **changes.pop("training", {}),
    }
    return Recipe.parse(
        {
            "name": "try",
            "model": "bag",
            "tokenizer": {"kind": "small", "vocabulary": 60},
            "train": [{"store": str(store), "modalities": ["text"]}],
            "dev": [{"store": str(store), "modalities": ["text"]}],
            "training": training,
            **changes,
        }
    )


@pytest.mark.parametrize("model", ["bag", "opinionated"])
def test_it_is_trained_scored_calibrated_and_used(model: str, store: Path, tmp_path: Path) -> None:
    report = train(recipe(store, model=model, network={"width": 12}), tmp_path / "run")
    assert report.report["uar"] > 0.9
    pretrained = load_pretrained(report.model)
    assert pretrained.card.modalities == ("text",)
    assert pretrained.model.stored_settings() == BagConfig(labels=3, width=12)
    assert evaluate(report.model, store, "dev", intervals=False).report["uar"] == pytest.approx(report.report["uar"])
    calibrate(
        CalibrateConfig.parse(
            {
                "name": "finished",
                "title": "finished",
                "model": str(report.model),
                "dev": [{"store": str(store), "part": "dev"}],
                "trained_on": [str(store)],
                "intended_use": "a test",
                "limits": "all",
            }
        ),
        tmp_path / "finished",
    )
    recognizer = maeum.load(tmp_path / "finished")
    answer = recognizer.predict(text="so sad i could cry")
    assert answer.label == "sadness"
    assert {m: opinion.share for m, opinion in answer.modalities.items()} == ({} if model == "bag" else {"text": 1.0})


def losses(name: str, weight: float) -> dict[str, Any]:
    return {"losses": {name: {"weight": weight}}}


def test_what_it_cannot_do_is_refused_politely(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store), tmp_path / "run").model
    with pytest.raises(ModelError, match="its network bag does not count its multiply-adds"):
        flops(model, store)
    with pytest.raises(ConfigError, match="has no CTC head that recognises words"):
        transcribe(store, model, tmp_path / "transcripts.jsonl")
    refused: dict[str, dict[str, Any]] = {
        "has no branches to start from": {"start_from": {"text": str(model)}, "model": "fe2e"},
        "shows no encodings": {"teacher": str(model), "training": losses("encoding-distillation", 1.0)},
        "no CTC head": {"training": losses("ctc", 0.1)},
        "no projection to contrast": {"training": losses("supervised-contrastive", 0.1)},
        "cache_text keeps": {"cache_text": True},
        "cache_speech keeps": {"cache_speech": True},
    }
    for message, changes in refused.items():
        with pytest.raises(ConfigError, match=message):
            train(recipe(store, **changes), tmp_path / message)


def test_what_is_no_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = ModelKind(BagConfig, nn.Identity, "no network")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"Identity is no maeum\.models\.network\.Network"):
        kind.build({"labels": 3})
    monkeypatch.setattr(Bag, "modalities", ())
    with pytest.raises(ModelError, match="Bag declares no modalities"):
        MODELS["bag"].build({"labels": 3})


def test_its_settings_are_not_guessed() -> None:
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=r"does not know the settings .* MODELS\[name\]\.build"):
        Bag(BagConfig(labels=3)).stored_settings()
