from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maeum.errors import ModelError
from maeum.models import mesm
from maeum.models.encoders.text import HubTextConfig, SmallTextConfig
from maeum.models.fe2e import FE2E
from maeum.models.published import fe2e as published
from maeum.native import missing
from maeum.sparse import operators
from maeum.types import Batch

GOLDEN = Path(__file__).parents[3] / "golden"
sys.path.insert(0, str(GOLDEN))
from formula import made  # noqa: E402

NUMBERS = np.load(GOLDEN / "mesm_a.npz")
SHAPES = json.loads((GOLDEN / "mesm_shapes.json").read_text())
TOLERANCE = 1e-4


class GivenVectors(nn.Module):
    """A text encoder whose vectors are known: token i stands for vector i."""

    dim = 768

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.vectors[tokens[:, 0]]


def checkpoint(kind: str) -> dict[str, Tensor]:
    return {name: made(name, tuple(shape)) for name, shape in SHAPES[kind].items()}


def padded(rows: Tensor, lengths: tuple[int, int]) -> tuple[Tensor, Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    dense = torch.zeros(2, max(lengths), *rows.shape[1:])
    dense[mask] = rows
    return dense, mask


@pytest.fixture(params=["reference", "portable", "native"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test with each form of the sparse operators."""
    if request.param == "native" and missing("sparse"):
        pytest.skip("no kernels in C++")
    monkeypatch.setenv("MAEUM_SPARSE", request.param)
    operators.cache_clear()
    yield
    operators.cache_clear()


@pytest.fixture(scope="module")
def batch() -> Batch:
    faces = made("a.faces", (5, 3, 48, 48), is_input=True) * 40 + 110
    mel_chunks = made("a.specs", (4, 1, 128, 32), is_input=True).abs()
    return Batch(
        ("first", "second"),
        *padded(faces, (2, 3)),
        *padded(mel_chunks, (3, 1)),
        tokens=torch.tensor([[0], [1]]),
        tokens_mask=torch.ones(2, 1, dtype=torch.bool),
    )


def load(kind: str, top_p: float = 1.0) -> FE2E:
    text = SmallTextConfig(vocabulary=10, width=8, channels=4, dim=768)
    model = published.load_published(checkpoint(kind), text, top_p=top_p)
    model.encoders["text"] = GivenVectors(made("a.text_cls", (2, 768), is_input=True))
    return model


def relative_error(ours: Tensor, golden: np.ndarray) -> float:
    return float(np.abs(ours.detach().numpy() - golden).max() / np.abs(golden).max())


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("kind", "top_p"), [("fe2e", 1.0), ("mesm", 0.5), ("mesm", 0.8)])
def test_outputs_equal_the_published_networks(kind: str, top_p: float, batch: Batch) -> None:
    model = load(kind, top_p)
    prefix = kind if kind == "fe2e" else f"mesm.{top_p}"
    with torch.no_grad():
        output = model(batch)
    assert relative_error(output.features["faces"], NUMBERS[f"{prefix}.visual_cls"]) < TOLERANCE
    assert relative_error(output.features["speech"], NUMBERS[f"{prefix}.audio_cls"]) < TOLERANCE
    assert relative_error(output.logits, NUMBERS[f"{prefix}.logits"]) < TOLERANCE


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("top_p", [0.5, 0.8])
def test_selected_positions_equal_the_published_ones(top_p: float, batch: Batch) -> None:
    with torch.no_grad():
        output = load("mesm", top_p)(batch)
    for ours, theirs in (("faces", "visual"), ("speech", "audio")):
        selected = output.auxiliary[f"{ours}.selected0"].numpy()
        golden = np.unpackbits(NUMBERS[f"mesm.{top_p}.{theirs}_mask0"])[: selected.size].reshape(selected.shape)
        assert (selected == golden.astype(bool)).all()


@pytest.mark.usefixtures("form")
def test_vectors_before_the_transformer_equal_the_published_ones(batch: Batch) -> None:
    model = load("mesm", 0.5)
    seen: dict[str, Tensor] = {}
    for name in ("faces", "speech"):
        encoder = model.encoders[name]
        assert isinstance(encoder, mesm.SparseMapEncoder)
        encoder.project.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    with torch.no_grad():
        model(batch)
    assert relative_error(seen["faces"], NUMBERS["mesm.0.5.visual_frames"]) < TOLERANCE
    assert relative_error(seen["speech"], NUMBERS["mesm.0.5.audio_pieces"]) < TOLERANCE


def test_a_checkpoint_file_is_read(tmp_path: Path, batch: Batch) -> None:
    torch.save(checkpoint("fe2e"), tmp_path / "fe2e.pt")
    model = published.load_published(tmp_path / "fe2e.pt", None)
    assert "text" not in model.encoders


def test_a_checkpoint_without_text_branch_names_what_is_there(tmp_path: Path) -> None:
    state = checkpoint("fe2e")
    state["X.strange"] = torch.zeros(1)
    with pytest.raises(ModelError, match=r"X\.strange"):
        published.load_published(state, None)


def test_a_checkpoint_that_lacks_something_is_refused() -> None:
    state = checkpoint("mesm")
    del state["V.sparse_layers.1.0.2.weight"]
    with pytest.raises(ModelError, match="missing"):
        published.load_published(state, SmallTextConfig(vocabulary=10, width=8, channels=4, dim=768))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.pt"):
        published.load_published(path, None)


def test_the_text_encoder_of_a_checkpoint_is_taken_over() -> None:
    from transformers import AlbertConfig, AlbertModel

    sizes = {"vocab_size": 30, "embedding_size": 8, "hidden_size": 768, "num_hidden_layers": 1,
             "num_attention_heads": 4, "intermediate_size": 16, "max_position_embeddings": 16}  # fmt: skip
    torch.manual_seed(1)
    albert = AlbertModel(AlbertConfig(**sizes)).eval()
    theirs = {f"T.albert.{name}": tensor for name, tensor in albert.state_dict().items()}
    theirs["T.albert.embeddings.position_ids"] = torch.arange(16).unsqueeze(0)  # older versions stored it
    text = HubTextConfig(architecture={"model_type": "albert", **sizes})
    model = published.load_published({**checkpoint("fe2e"), **theirs}, text)
    tokens, mask = torch.tensor([[2, 5, 7]]), torch.ones(1, 3, dtype=torch.bool)
    expected = albert(input_ids=tokens).last_hidden_state[:, 0]
    torch.testing.assert_close(model.encoders["text"](tokens, mask), expected)
    del theirs["T.albert.encoder.embedding_hidden_mapping_in.weight"]
    with pytest.raises(ModelError, match="embedding_hidden_mapping_in"):
        published.load_published({**checkpoint("fe2e"), **theirs}, text)
