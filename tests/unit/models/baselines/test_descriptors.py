"""Fixed features, held to scikit-image and to plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from maeum.errors import ModelError
from maeum.models.baselines.descriptors import HOG_WIDTH, hog, mel_statistics
from maeum.models.baselines.twophase import (
    FeatureReader,
    SpeechFeatures,
    TwoPhaseConfig,
    describe_faces,
    describe_speech,
)
from maeum.types import Batch

DB = math.log(10) / 10  # in natural logarithms of power


def test_hog_is_scikit_images() -> None:
    feature = pytest.importorskip("skimage.feature")
    grey = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.float64)
    grey[1, :, :24] = 0  # blocks without a gradient
    ours = hog(torch.from_numpy(grey))
    assert ours.shape == (3, HOG_WIDTH)
    for image, vector in zip(grey, ours.numpy(), strict=True):
        theirs = feature.hog(image, 9, (8, 8), (2, 2), block_norm="L2-Hys")
        np.testing.assert_allclose(vector, theirs, atol=1e-6)  # it counts cells in single precision


def test_the_light_does_not_change_hog() -> None:
    grey = torch.rand(2, 48, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100
    torch.testing.assert_close(hog(grey * 2 + 30), hog(grey), rtol=0, atol=1e-9)


def test_a_face_is_described_by_its_luminance() -> None:
    grey = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    described = describe_faces(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(described, 6 * hog(grey[:, 0].float()), rtol=1e-3, atol=1e-3)
    assert described.square().mean().item() == pytest.approx(1, rel=0.01)


def test_a_face_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="24x24"):
        describe_faces(torch.zeros(1, 3, 24, 24))


def mel_chunks() -> tuple[Tensor, Tensor]:
    """Mel chunks of two utterances, 2 and 1, and whose they are."""
    generator = torch.Generator().manual_seed(0)
    made = torch.rand(3, 1, 128, 32, generator=generator) * 20 - 15
    made[2] += 4
    return made, torch.tensor([0, 0, 1])


def test_mel_statistics_are_means_and_deviations_over_steps() -> None:
    made, owner = mel_chunks()
    values, level = mel_statistics(made, owner, 2, bands=32, frames=8, range_db=40)
    assert values.shape == (3, 4, 64)
    loudest = [float(made[:2].max()), float(made[2].max())]
    for n in range(3):
        for step in range(4):
            seen = made[n, 0, :, 8 * step : 8 * step + 8].double().numpy() - loudest[owner[n]]
            assert float(level[n, step]) == pytest.approx(seen.max() / DB, abs=1e-4)
            scaled = np.maximum(seen, -40 * DB) / (10 * DB) + 2
            for band in range(32):
                inside = scaled[4 * band : 4 * band + 4].mean(0)
                assert float(values[n, step, band]) == pytest.approx(inside.mean(), abs=1e-4)
                assert float(values[n, step, 32 + band]) == pytest.approx(inside.std(), abs=1e-4)


def test_level_does_not_matter() -> None:
    made, owner = mel_chunks()
    for before, after in zip(
        mel_statistics(made, owner, 2, bands=16, frames=4, range_db=60),
        mel_statistics(made + 3, owner, 2, bands=16, frames=4, range_db=60),
        strict=True,
    ):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


def test_silent_steps_are_left_out_without_a_gap() -> None:
    made, _ = mel_chunks()
    quiet = made.clone()
    quiet[0, :, :, 8:24] = -40.0  # two of the first mel chunk's four steps
    batch, mask = torch.stack((quiet[:2], made[[2, 2]])), torch.tensor([[True, True], [True, False]])
    steps, there = describe_speech(batch, mask, SpeechFeatures(range_db=60, silence_db=60))
    assert there.sum(1).tolist() == [6, 4]
    assert there.shape == (2, 6)
    whole, _ = describe_speech(batch, mask, SpeechFeatures(range_db=60))
    assert whole.shape == (2, 8, 64)
    torch.testing.assert_close(steps[0], whole[0, [0, 3, 4, 5, 6, 7]])
    assert not steps[1, 4:].any()


def test_only_the_vectors_of_tokens_learn() -> None:
    reader = FeatureReader(TwoPhaseConfig.parse({"labels": 2, "text": {"vocabulary": 9, "width": 3}}))
    assert [name for name, _ in reader.named_parameters()] == ["embedding.weight"]
    assert reader.widths == {"faces": 900, "speech": 64, "text": 3}


def test_a_reader_of_nothing_and_a_batch_of_nothing_are_refused() -> None:
    with pytest.raises(ModelError, match="at least one"):
        FeatureReader(TwoPhaseConfig(labels=2, faces=None, speech=None))
    with pytest.raises(ModelError, match="none of the modalities"):
        FeatureReader(TwoPhaseConfig(labels=2))(Batch(ids=("a",)))
