"""Model folders of earlier releases, whose weights had other names, load as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from maeum.labels import LabelSet
from maeum.models.card import ModelCard
from maeum.models.encoders.tokenizer import train_tokenizer
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained, save_pretrained
from maeum.models.stored_weights import with_present_names

TEXT = {"kind": "small", "vocabulary": 50, "width": 8, "channels": 4, "dim": 12}
BRANCH = {"widths": (4, 6, 8, 10), "stem_blocks": 0, "hidden": 12, "transformer": {"layers": 1, "feedforward": 16}}
SMALL = {
    "mmer": {
        "labels": 2, "dim": 8, "heads": 2, "feedforward": 12, "project": 4, "text": TEXT,
        "speech": {"kind": "small", "widths": [4], "dim": 16, "feedforward": 16}, "characters": ("", " ", "A"),
    },
    "mesm": {"labels": 2, "dim": 8, "faces": BRANCH, "speech": BRANCH, "text": TEXT, "query_modality": "speech"},
}  # fmt: skip
EARLIER = {
    "mmer": {"ctc_head.": "spell.", "projection.": "view.", "view_projection.": "twin_view."},
    "mesm": {"absent_text": "stand_in", "absent_speech": "voice_stand_in"},
}


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_folder_with_earlier_names_gives_the_same_network(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind].build(SMALL[kind])
    card = ModelCard(name="x", title="x", licence="none", non_commercial=True, parameters=0)
    save_pretrained(tmp_path, kind=kind, model=model, label_set=LabelSet(("a", "b")), card=card,
                    tokenizer=train_tokenizer(["a few words"] * 4, 50))  # fmt: skip

    def earlier(name: str) -> str:
        for now, before in EARLIER[kind].items():
            if name.startswith(now):
                return before + name.removeprefix(now)
        return name

    saved = load_file(tmp_path / "model.safetensors")
    renamed = {earlier(name): tensor for name, tensor in saved.items()}
    assert len(renamed.keys() - saved.keys()) >= len(EARLIER[kind])
    save_file(renamed, tmp_path / "model.safetensors")
    config = tmp_path / "config.json"  # in which there was no hash yet
    config.write_text(re.sub(r',\s*"weights_sha256": "\w+"', "", config.read_text()))
    loaded = load_pretrained(tmp_path).model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_names_that_the_network_has_stay() -> None:
    tensor = torch.zeros(1)
    assert set(with_present_names({"view.0.weight": tensor}, {"view.0.weight"})) == {"view.0.weight"}
    assert set(with_present_names({"other": tensor}, set())) == {"other"}
