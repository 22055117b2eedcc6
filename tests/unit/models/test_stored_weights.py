from __future__ import annotations

import pytest
import torch

from maeum.models.stored_weights import packed, unpacked

WEIGHTS = {
    "matrix": torch.randn(64, 100) * torch.logspace(-3, 1, 64).unsqueeze(1),
    "convolution": torch.randn(32, 16, 3, 3),
    "small": torch.randn(8, 8),
    "bias": torch.randn(5000),
    "zero": torch.zeros(64, 100),
    "steps": torch.tensor(7),
}


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_what_is_stored_comes_back(precision: str) -> None:
    stored = packed(WEIGHTS, precision)
    found = unpacked(stored)
    assert found.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        rows = tensor.float().flatten(1) if tensor.dim() > 1 else tensor.float().view(1, -1)
        off = (found[name].float() - tensor.float()).reshape(rows.shape).abs().amax(1)
        most = {"float32": 0.0, "float16": 1 / 2048, "int8": 1 / 253}[precision]
        assert (off <= most * rows.abs().amax(1) + 1e-7).all(), name
    size = sum(t.numel() * t.element_size() for t in stored.values())
    whole = sum(t.numel() * t.element_size() for t in WEIGHTS.values())
    assert size / whole == pytest.approx({"float32": 1.0, "float16": 0.5, "int8": 0.32}[precision], abs=0.02)


def test_a_factor_that_does_not_fit_is_refused() -> None:
    stored = packed(WEIGHTS, "int8")
    stored["matrix#scale"] = stored["matrix#scale"][:3]
    with pytest.raises(RuntimeError, match="matrix has 64 rows and 3 factors"):
        unpacked(stored)
