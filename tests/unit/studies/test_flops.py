"""What answers cost, on items of a store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maeum.data.shards import StoreItem
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ModelError
from maeum.labels import EKMAN, EMOTIONS
from maeum.models.card import ModelCard
from maeum.models.mesm import MESM, MESMConfig
from maeum.models.pretrained import load_pretrained, save_pretrained
from maeum.studies.flops import flops
from maeum.types import Utterance


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Seven dev items of one face each."""
    rng = np.random.default_rng(0)
    items = [
        StoreItem(Utterance(f"u{i}", part="dev", label=label), content=str(i),
                  faces=rng.integers(0, 256, (1, 3, 48, 48), dtype=np.uint8))
        for i, label in enumerate(EMOTIONS)
    ]  # fmt: skip
    with StoreWriter(tmp_path / "store", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, items)
        writer.finish([path], {"name": "faces", "label_set": EKMAN.to_dict(), "licence": "L", "modalities": ["faces"]})
    return tmp_path / "store"


@pytest.fixture
def mesm(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    branch = {"widths": [4, 6, 8, 10], "stem_blocks": 0, "hidden": 8, "transformer": {"layers": 1, "heads": 2}}
    model = MESM(MESMConfig.parse({"labels": 7, "dim": 8, "faces": branch, "speech": None, "top_p": 0.6}))
    card = ModelCard.parse({"name": "m", "title": "M", "licence": "L", "non_commercial": False, "parameters": 1,
                            "modalities": ["faces"], "labels": EKMAN.names, "scores": []})  # fmt: skip
    save_pretrained(tmp_path / "m", kind="mesm", model=model, label_set=EKMAN, card=card)
    return tmp_path / "m"


def test_counts_fall_with_the_selected_mass(store: Path, mesm: Path):
    costs = {p: flops(mesm, store, top_p=p, rounds=1) for p in (0.2, None, 1.0)}
    assert [cost.top_p for cost in costs.values()] == [0.2, 0.6, 1.0]
    assert [cost.items for cost in costs.values()] == [7, 7, 7]
    done = [cost.done for cost in costs.values()]
    assert done[0] < done[1] < done[2]
    assert len({cost.dense for cost in costs.values()}) == 1
    blocks = [stage for stage in costs[1.0].stages if stage.stage.startswith("block")]
    assert [(b.selected, b.positions) for b in blocks] == [(7 * n, 7 * n) for n in (576, 144, 36)]
    assert all(b.done < b.dense for b in blocks), "padding is multiplied by a dense convolution alone"
    told = json.loads(costs[0.2].to_json())
    assert told["done"] == done[0]
    assert told["all_milliseconds"] > 0


def test_the_model_keeps_its_own_mass(store: Path, mesm: Path):
    pretrained = load_pretrained(mesm)
    flops(pretrained, store, top_p=0.1, rounds=1)
    assert isinstance(pretrained.model, MESM)
    assert pretrained.model.top_p == 0.6


def test_a_network_that_keeps_everything_has_no_mass_to_keep(store: Path, small_model: Path):
    cost = flops(small_model, store, items=3, rounds=1)
    assert (cost.items, cost.all_milliseconds, cost.top_p) == (3, None, None)
    assert cost.done == cost.dense
    with pytest.raises(ModelError, match="selects every position"):
        flops(small_model, store, top_p=0.5)
