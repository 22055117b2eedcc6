"""How classes lie in the features of trained networks, as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, silhouette_score

from maeum.data.shards import StoreItem
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError
from maeum.labels import EKMAN
from maeum.studies.reproduce import REPRODUCTIONS
from maeum.studies.study import Study, score_all, train_all, variants
from maeum.types import Utterance

SAID = {"anger": "leave me alone now", "happiness": "what a lovely day", "neutral": "it is half past five"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    rng = np.random.default_rng(0)
    items = [
        StoreItem(
            Utterance(f"u{i:02d}", part="train" if i < 30 else "dev", label=list(SAID)[i % 3], speaker=f"s{i // 6}",
                      text=f"{SAID[list(SAID)[i % 3]]} {i}"),
            content=str(i),
            mel_chunks=rng.normal(-8, 3, (2, 1, 128, 32)).astype(np.float16),
        )
        for i in range(60)
    ]  # fmt: skip
    with StoreWriter(folder / "store", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, items)
        writer.finish([path], {"name": "made", "label_set": EKMAN.to_dict(), "licence": "L",
                               "modalities": ["speech", "text"]})  # fmt: skip
    return folder / "store"


@pytest.fixture(scope="module")
def study(store: Path) -> Study:
    small = {"kind": "small", "vocabulary": 60, "width": 8, "token_dropout": 0.0, "embedding_dropout": 0.0}
    speech = {"kind": "small", "widths": [4, 6], "dim": 8, "heads": 2, "feedforward": 8, "layers": 1}
    settings: dict[str, Any] = {
        "name": "made", "title": "Made up", "seeds": 2, "metrics": ["accuracy"], "ablation": ["no-ctc", "no-gate"],
        "shared": {
            "model": "mmer",
            "train": [{"store": str(store)}], "dev": [{"store": str(store)}],
            "tokenizer": {"kind": "small", "vocabulary": 60}, "augment": {"view": {}},
            "network": {"dim": 8, "heads": 2, "feedforward": 8, "project": 6, "freeze_text": False, "speech": speech,
                        "text": small},
            "training": {"epochs": 2, "batch_size": 8, "lr": 0.01, "schedule": "constant", "warmup": 0.0,
                         "loss": "cross-entropy", "class_weights": False,
                         "losses": {"ctc": {"weight": 0.1}, "supervised-contrastive": {"weight": 0.1},
                                    "augmented-contrastive": {"weight": 0.1}}},
        },
        "entries": {
            "mmer": {"title": "MMER", "model": "mmer"},
            "no-ctc": {"title": "without CTC", "model": "mmer", "training": {"losses": {"ctc": {"weight": 0.0}}}},
            "no-gate": {"title": "without the gate", "model": "mmer", "network": {"without": ["gate"]}},
        },
    }  # fmt: skip
    return Study.parse(settings)


@pytest.fixture(scope="module")
def folder(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train_all(study, variants(study, list(study.entries)), folder)
    return folder


def test_features_are_told_apart_by_what_scikit_learn_says(study: Study, folder: Path) -> None:
    page = REPRODUCTIONS["mmer/features"](study, folder, "cpu", None)
    assert [row["title"] for row in page.numbers["rows"]] == ["MMER", "without CTC", "without the gate"]
    runs = train_all(study, variants(study, ["no-gate"]), folder)[0]
    for number, run in enumerate(score_all(study, runs, features=True)):
        assert run.predictions.features is not None
        expected = silhouette_score(run.predictions.features.double().numpy(), run.predictions.target.numpy())
        assert page.numbers["rows"][2]["statistics"]["silhouette"]["seeds"][number] == pytest.approx(expected)
        true, answered = run.predictions.target.numpy(), run.predictions.logits.argmax(1).numpy()
        neutral = EKMAN.index("neutral")
        share = (answered[true != neutral] == neutral).mean()
        assert page.numbers["rows"][2]["statistics"]["taken for neutral"]["seeds"][number] == pytest.approx(share)
    assert "minus the first" in page.markdown
    assert set(page.files) == {f"features-{name}.svg" for name in study.entries}
    assert all("<svg" in str(svg) for svg in page.files.values())


def test_confusion_is_summed_over_seeds(study: Study, folder: Path) -> None:
    page = REPRODUCTIONS["mmer/confusion"](study, folder, "cpu", None)
    runs = train_all(study, variants(study, ["mmer"]), folder)[0]
    expected = sum(
        confusion_matrix(run.predictions.target, run.predictions.logits.argmax(1), labels=range(len(EKMAN)))
        for run in score_all(study, runs)
    )
    assert page.numbers["rows"][0]["counts"] == expected.tolist()


def test_the_ablation_compares_with_the_whole_network(study: Study, folder: Path) -> None:
    page = REPRODUCTIONS["mmer/ablation"](study, folder, "cpu", None)
    assert [row["title"] for row in page.numbers["rows"]] == ["MMER", "without CTC", "without the gate"]
    with pytest.raises(ConfigError, match="no networks for an ablation"):
        REPRODUCTIONS["mmer/ablation"](study.model_copy(update={"ablation": ()}), folder, "cpu", None)
