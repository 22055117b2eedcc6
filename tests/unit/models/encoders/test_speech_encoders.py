from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
)

from maeum.errors import ModelError
from maeum.models.encoders.speech import (
    HubSpeechConfig,
    HubSpeechEncoder,
    SmallSpeechConfig,
    SmallSpeechEncoder,
    ValidNorm,
    _stretches,
    spectrogram,
    standardised,
)
from maeum.training.loop import recompute
from maeum.types import Batch

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
}
KINDS = {
    "wav2vec2, group norm": Wav2Vec2Config(**TINY),
    "wav2vec2, layer norm": Wav2Vec2Config(
        **TINY, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True
    ),
    "hubert": HubertConfig(**TINY),
    "wavlm": WavLMConfig(**TINY),
}
LENGTHS = [3000, 1700, 2400]


def waves(pad: int = 0) -> Batch:
    wave = torch.randn(3, 3000, generator=torch.Generator().manual_seed(0)) * 0.1
    wave = torch.cat((wave, torch.full((3, pad), 0.7)), 1)
    mask = torch.arange(3000 + pad) < torch.tensor(LENGTHS).unsqueeze(1)
    return Batch(("a", "b", "c"), wave=wave, wave_mask=mask)


def one(batch: Batch, i: int) -> Batch:
    assert batch.wave is not None
    return Batch(("x",), wave=batch.wave[i : i + 1, : LENGTHS[i]], wave_mask=torch.ones(1, LENGTHS[i]).bool())


def built(kind: str, mask_time: float = 0.0, **settings: Any) -> HubSpeechEncoder:
    torch.manual_seed(0)
    return HubSpeechEncoder(HubSpeechConfig(architecture=KINDS[kind].to_dict(), mask_time=mask_time, **settings)).eval()


def read(encoder: HubSpeechEncoder | SmallSpeechEncoder, batch: Batch) -> tuple[Tensor, Tensor]:
    found = encoder(batch)
    assert found is not None
    return found


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # transformers' WavLM
@pytest.mark.parametrize("kind", list(KINDS))
def test_an_utterance_is_read_alike_alone_in_a_batch_and_with_any_padding(kind: str) -> None:
    encoder, batch = built(kind), waves()
    sequence, mask = read(encoder, batch)
    more, more_mask = read(encoder, waves(pad=901))
    assert more.shape[1] > sequence.shape[1]
    for i in range(3):
        alone, valid = read(encoder, one(batch, i))
        assert bool(valid.all())
        torch.testing.assert_close(sequence[i][mask[i]], alone[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(more[i][more_mask[i]], alone[0], rtol=1e-5, atol=1e-5)


def test_with_its_padding_seen_it_is_not() -> None:
    encoder = built("wav2vec2, group norm", sees_padding=True)
    sequence, mask = read(encoder, waves())
    alone, _ = read(encoder, one(waves(), 1))
    assert not torch.allclose(sequence[1][mask[1]], alone[0], atol=1e-3)


def test_one_utterance_reads_as_transformers_reads_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Wav2Vec2Model(KINDS["wav2vec2, group norm"]).eval()
    extractor = Wav2Vec2FeatureExtractor()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    encoder = HubSpeechEncoder(HubSpeechConfig(pretrained=str(tmp_path))).eval()
    batch = one(waves(), 0)
    assert batch.wave is not None
    given = extractor(batch.wave[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    torch.testing.assert_close(read(encoder, batch)[0], model(given).last_hidden_state, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # transformers' WavLM
@pytest.mark.parametrize("kind", list(KINDS))
def test_without_dropout_of_its_weights_attention_draws_nothing(kind: str) -> None:
    for dropout in (0.5, 0.0):
        encoder = built(kind, attention_dropout=dropout)
        assert HubSpeechEncoder(encoder.config).model.config.attention_dropout == dropout
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        encoder.train()
        encoder.model.config.layerdrop = 0.0
        first, second = (read(encoder, waves())[0] for _ in range(2))
        assert torch.equal(first, second) == (dropout == 0.0)


@pytest.mark.parametrize("wanted", [True, False])
def test_samples_are_standardised_as_the_checkpoint_says(tmp_path: Path, wanted: bool) -> None:
    HubertModel(KINDS["hubert"]).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=wanted).save_pretrained(tmp_path)
    encoder = HubSpeechEncoder(HubSpeechConfig(pretrained=str(tmp_path)))
    assert encoder.config.standardise is wanted
    again = HubSpeechEncoder(encoder.config)  # without the folder
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(read(again.eval(), waves())[0], read(encoder.eval(), waves())[0])


def test_what_is_no_speech_encoder_says_so(tmp_path: Path) -> None:
    from transformers import BertConfig

    tiny = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    with pytest.raises(ModelError, match="no speech encoder like wav2vec2"):
        HubSpeechEncoder(HubSpeechConfig(architecture=tiny.to_dict()))
    with pytest.raises(ModelError, match="no usable speech encoder"):
        HubSpeechEncoder(HubSpeechConfig(pretrained=str(tmp_path)))


def test_standardised_is_what_numpy_says() -> None:
    batch = waves()
    assert batch.wave is not None
    assert batch.wave_mask is not None
    ours = standardised(batch.wave, batch.wave_mask)
    for i, length in enumerate(LENGTHS):
        own = batch.wave[i, :length].numpy().astype(np.float64)
        np.testing.assert_allclose(ours[i, :length], (own - own.mean()) / np.sqrt(own.var() + 1e-7), atol=1e-5)
        assert (ours[i, length:] == 0).all()


def test_activations_that_are_computed_again_give_the_same_gradients() -> None:
    """Also when another batch was read in between."""
    slopes = []
    for again in (False, True):
        encoder = built("wav2vec2, group norm", freeze_features=False).train()
        if again:
            recompute(encoder)
        sequence, _ = read(encoder, waves())
        shorter = waves()
        assert shorter.wave_mask is not None
        shorter.wave_mask[:, 900:] = False
        torch.manual_seed(0)
        read(encoder, shorter)
        sequence.square().sum().backward()
        slopes.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    assert "model.feature_extractor.conv_layers.0.conv.weight" in slopes[0]
    for name, slope in slopes[0].items():
        torch.testing.assert_close(slopes[1][name], slope, rtol=1e-4, atol=1e-5)


def test_too_short_an_utterance_gives_nothing() -> None:
    encoder, batch = built("hubert"), waves()
    assert batch.wave_mask is not None
    batch.wave_mask[1, 20:] = False
    sequence, mask = read(encoder, batch)
    assert not mask[1].any()
    assert (sequence[1] == 0).all()
    batch.wave_mask[:, 20:] = False
    assert encoder(batch) is None


def test_steps_are_hidden_in_training_alone_and_from_torchs_generator() -> None:
    encoder, batch = built("wav2vec2, group norm", mask_time=0.5), waves()
    plain = read(encoder, batch)[0]
    encoder.train()
    torch.manual_seed(3)
    first = read(encoder, batch)[0]
    np.random.seed(99)  # noqa: NPY002 - which transformers would draw from
    torch.manual_seed(3)
    torch.testing.assert_close(read(encoder, batch)[0], first, rtol=0, atol=0)
    assert not torch.allclose(first, plain, atol=1e-3)


def test_about_the_asked_share_of_steps_is_hidden() -> None:
    torch.manual_seed(0)
    mask = torch.ones(200, 400, dtype=torch.bool)
    mask[:, 300:] = False
    hidden = _stretches(mask, 0.1)
    assert not hidden[:, 300:].any()
    assert 0.085 < hidden[:, :300].float().mean() < 0.105  # stretches overlap now and then


def mel_chunks() -> Batch:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, 1, 128, 32, generator=generator) * 2 - 6
    mask = torch.arange(4) < torch.tensor([4, 2, 3]).unsqueeze(1)
    return Batch(("a", "b", "c"), mel_chunks=values, mel_chunks_mask=mask)


def test_the_small_encoder_reads_alike_alone_and_in_a_batch() -> None:
    torch.manual_seed(0)
    encoder = SmallSpeechEncoder(SmallSpeechConfig(widths=(4, 6, 8), dim=16, feedforward=24)).train()
    for _ in range(3):
        read(encoder, mel_chunks())  # so that norms hold something
    encoder.eval()
    batch = mel_chunks()
    assert batch.mel_chunks is not None
    sequence, mask = read(encoder, batch)
    assert mask.sum(1).tolist() == [64, 32, 48]  # a vector every 25 ms
    for i, count in enumerate([4, 2, 3]):
        single = Batch(
            ("x",), mel_chunks=batch.mel_chunks[i : i + 1, :count], mel_chunks_mask=torch.ones(1, count).bool()
        )
        torch.testing.assert_close(sequence[i][mask[i]], read(encoder, single)[0][0], rtol=1e-5, atol=1e-5)


def test_norms_of_the_small_encoder_see_no_padding() -> None:
    """In training too: an utterance of zeros beside it, with nothing in it, changes nothing."""
    torch.manual_seed(0)
    config = SmallSpeechConfig(widths=(4, 6), dim=16, feedforward=24, dropout=0.0, mask_time=0, mask_bands=0)
    encoder = SmallSpeechEncoder(config).train()
    batch = mel_chunks()
    assert batch.mel_chunks is not None
    assert batch.mel_chunks_mask is not None
    padded = Batch(batch.ids, mel_chunks=torch.nn.functional.pad(batch.mel_chunks, (0, 0, 0, 0, 0, 0, 0, 3)),
                   mel_chunks_mask=torch.nn.functional.pad(batch.mel_chunks_mask, (0, 3)))  # fmt: skip
    first, mask = read(encoder, batch)
    second, _ = read(encoder, padded)
    torch.testing.assert_close(second[:, : mask.shape[1]], first, rtol=1e-5, atol=1e-5)


def test_the_norm_of_valid_frames_is_batch_norm_of_them() -> None:
    torch.manual_seed(0)
    ours, theirs = ValidNorm(5).double(), torch.nn.BatchNorm1d(5).double()
    maps = torch.randn(3, 5, 4, 7, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(7) < torch.tensor([7, 3, 5]).unsqueeze(1)
    weight = torch.randn(15, 5, 4, dtype=torch.float64)
    for _ in range(2):
        found = [ours(maps, mask).permute(0, 3, 1, 2)[mask], theirs(maps.permute(0, 3, 1, 2)[mask])]
        torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)
        slopes = [torch.autograd.grad((f * weight).sum(), maps)[0] for f in found]
        torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(maps, mask).permute(0, 3, 1, 2)[mask], theirs(maps.permute(0, 3, 1, 2)[mask]))


def test_frames_behind_the_last_sound_are_not_read() -> None:
    batch = mel_chunks()
    assert batch.mel_chunks is not None
    assert batch.mel_chunks_mask is not None
    batch.mel_chunks[0, 3, :, :, 10:] = -60.0
    maps, mask = spectrogram(batch.mel_chunks, batch.mel_chunks_mask, 50.0)
    assert mask.sum(1).tolist() == [3 * 32 + 10, 64, 96]
    assert maps.amax((1, 2, 3)).tolist() == [2.0, 2.0, 2.0]
    assert float(maps.min()) >= -2.0


def test_loudness_does_not_matter() -> None:
    torch.manual_seed(0)
    encoder = SmallSpeechEncoder(SmallSpeechConfig(widths=(4, 6), dim=16, feedforward=24)).eval()
    batch = mel_chunks()
    assert batch.mel_chunks is not None
    louder = Batch(batch.ids, mel_chunks=batch.mel_chunks + 3.0, mel_chunks_mask=batch.mel_chunks_mask)
    torch.testing.assert_close(read(encoder, louder)[0], read(encoder, batch)[0], rtol=1e-4, atol=1e-5)


def test_weights_that_a_checkpoint_lacks_are_no_silent_noise(tmp_path: Path) -> None:
    Wav2Vec2Model(Wav2Vec2Config(**TINY)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    gone = {k: v for k, v in weights.items() if k != "masked_spec_embed"}  # which checkpoints often lack
    save_file(gone, tmp_path / "model.safetensors", {"format": "pt"})
    HubSpeechEncoder(HubSpeechConfig(pretrained=str(tmp_path)))
    save_file({k: v for k, v in gone.items() if "layers.1" not in k}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights, such as encoder\.layers\.1"):
        HubSpeechEncoder(HubSpeechConfig(pretrained=str(tmp_path)))
