"""What the speech branch sees of log-mel chunks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from maeum.models import maps
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
from maeum.models.maps import NATURAL_PER_DB, audible_mel_chunks
from maeum.models.networks import MODELS
from maeum.types import Batch

SMALL = TransformerConfig(layers=1, heads=2, feedforward=16)


def branch(**settings: Any) -> BranchConfig:
    return BranchConfig(widths=(2, 3, 4, 5), stem_blocks=0, hidden=8, transformer=SMALL, **settings)


def normalise_mel_chunks(mel_chunks: Tensor, owner: Tensor, owners: int, config: BranchConfig) -> Tensor:
    return maps.normalise_mel_chunks(
        mel_chunks, owner, owners, config.norm, range_db=config.range_db, shrink=config.shrink
    )


def utterance(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 128, 32, generator=generator) * 6.0 - 6.0


@pytest.mark.parametrize("norm", ["each", "bands", "both"])
def test_level_and_neighbours_do_not_matter(norm: str) -> None:
    first, second = utterance(0, 3), utterance(1, 2) * 2.0 + 3.0
    config = branch(norm=norm)
    alone = normalise_mel_chunks(first, torch.zeros(3, dtype=torch.long), 1, config)
    owner = torch.tensor([0, 0, 0, 1, 1])
    together = normalise_mel_chunks(torch.cat((first, second)), owner, 2, config)[:3]
    torch.testing.assert_close(together, alone)
    louder = normalise_mel_chunks(first + 5.0, torch.zeros(3, dtype=torch.long), 1, config)
    torch.testing.assert_close(louder, alone, atol=1e-5, rtol=1e-5)


def test_bands_take_away_a_channel_and_each_keeps_it() -> None:
    mel_chunks = utterance(0, 3)
    owner = torch.zeros(3, dtype=torch.long)
    channel = torch.linspace(-2, 2, 128).view(1, 1, 128, 1)
    # The floor of the dynamic range is far away for this signal, so a channel is a mere shift of each band.
    plain, coloured = (
        normalise_mel_chunks(p, owner, 1, branch(norm="bands")) for p in (mel_chunks, mel_chunks + channel)
    )
    torch.testing.assert_close(plain, coloured, atol=1e-5, rtol=1e-5)
    assert float(plain.mean((0, 1, 3)).abs().max()) < 1e-5
    plain, coloured = (
        normalise_mel_chunks(p, owner, 1, branch(norm="each")) for p in (mel_chunks, mel_chunks + channel)
    )
    assert float((plain - coloured).abs().max()) > 0.3


def test_floor_frames_do_not_move_the_bands() -> None:
    whole = utterance(0, 2)
    filled = torch.cat((whole, torch.full((1, 1, 128, 32), -13.8155)))
    config = branch(norm="bands")
    # -13.8 is more than 30 dB below the loudest bin, which is near 0.
    ours = normalise_mel_chunks(filled, torch.zeros(3, dtype=torch.long), 1, config)[:2]
    torch.testing.assert_close(ours, normalise_mel_chunks(whole, torch.zeros(2, dtype=torch.long), 1, config))


def test_both_stacks_each_and_bands() -> None:
    mel_chunks, owner = utterance(0, 2), torch.zeros(2, dtype=torch.long)
    both = normalise_mel_chunks(mel_chunks, owner, 1, branch(norm="both"))
    for channel, norm in enumerate(("each", "bands")):
        torch.testing.assert_close(
            both[:, channel : channel + 1], normalise_mel_chunks(mel_chunks, owner, 1, branch(norm=norm))
        )


def test_shrink_averages_bands_and_frames() -> None:
    mel_chunks, owner = utterance(0, 2), torch.zeros(2, dtype=torch.long)
    small = normalise_mel_chunks(mel_chunks, owner, 1, branch(norm="each", shrink=(4, 2)))
    large = normalise_mel_chunks(mel_chunks, owner, 1, branch(norm="each"))
    assert small.shape == (2, 1, 32, 16)
    torch.testing.assert_close(small[1, 0, 3, 5], large[1, 0, 12:16, 10:12].mean())


def test_audible_is_relative_to_the_loudest_frame_of_the_utterance() -> None:
    mel_chunks = torch.full((4, 1, 128, 32), -13.0)
    levels_db = [-20.0, 0.0, -36.0, -300.0]
    for mel_chunk, level in zip(mel_chunks, levels_db, strict=True):
        mel_chunk[0, 7, 3] = max(-13.0, level * NATURAL_PER_DB)
    owner = torch.tensor([0, 0, 0, 1])
    assert audible_mel_chunks(mel_chunks, owner, 2, 40.0).tolist() == [True, True, True, True]
    assert audible_mel_chunks(mel_chunks, owner, 2, 30.0).tolist() == [True, True, False, True]


@pytest.mark.parametrize("norm", ["each", "both"])
def test_silence_around_speech_changes_nothing(norm: str) -> None:
    torch.manual_seed(0)
    config = FE2EConfig(labels=3, dim=8, faces=None, speech=branch(norm=norm, shrink=(2, 2), silence_db=30.0))
    model = FE2E(config).eval()
    quiet = torch.full((1, 1, 128, 32), -13.8155)
    speech = utterance(0, 3)
    padded = torch.cat((quiet, speech[:2], quiet, quiet, speech[2:], quiet))
    mel_chunks = torch.zeros(3, 7, 1, 128, 32)
    mel_chunks[0, :3], mel_chunks[1] = speech, padded
    mask = torch.zeros(3, 7, dtype=torch.bool)
    mask[0, :3], mask[1] = True, True
    output = model(Batch(ids=("a", "b", "c"), mel_chunks=mel_chunks, mel_chunks_mask=mask))
    torch.testing.assert_close(output.logits[0], output.logits[1])
    assert output.present["speech"].tolist() == [True, True, False]
    assert bool((output.logits[2] == 0).all())


@pytest.mark.parametrize("norm", ["published", "each", "bands", "both"])
def test_digital_silence_and_a_tone_are_finite(norm: str) -> None:
    torch.manual_seed(0)
    silence_db = None if norm == "published" else 30.0
    model = FE2E(FE2EConfig(labels=3, dim=8, faces=None, speech=branch(norm=norm, silence_db=silence_db))).eval()
    mel_chunks = torch.full((2, 2, 1, 128, 32), -13.8155)
    mel_chunks[1, :, :, 40:43] = 6.0
    output = model(
        Batch(ids=("silence", "tone"), mel_chunks=mel_chunks, mel_chunks_mask=torch.ones(2, 2, dtype=torch.bool))
    )
    assert bool(torch.isfinite(output.logits).all())


@pytest.mark.parametrize("name", ["fe2e", "mesm"])
def test_both_normalisations_of_shrunk_pieces_are_read(name: str) -> None:
    speech = branch(norm="both", shrink=(2, 2)).model_dump()
    model = MODELS[name].build({"labels": 5, "dim": 8, "faces": None, "speech": speech}).eval()
    batch = Batch(
        ids=("a",), mel_chunks=utterance(0, 2).unsqueeze(0), mel_chunks_mask=torch.ones(1, 2, dtype=torch.bool)
    )
    assert model(batch).logits.isfinite().all()
