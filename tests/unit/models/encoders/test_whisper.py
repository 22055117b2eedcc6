from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.audio_utils import mel_filter_bank
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TheirEncoder

from maeum.errors import ModelError
from maeum.models.encoders.whisper import WhisperEncoder, log_mel
from maeum.models.encoders.whisper_layers import slaney_filters

SIZES: dict[str, Any] = {
    "model_type": "whisper", "d_model": 16, "vocab_size": 40, "num_mel_bins": 80, "max_source_positions": 1500,
    "max_target_positions": 12, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 20, "pad_token_id": 1, "bos_token_id": 2,
    "eos_token_id": 3, "decoder_start_token_id": 4,
}  # fmt: skip


def build(**changes: Any) -> WhisperEncoder:
    torch.manual_seed(0)
    return WhisperEncoder(None, {**SIZES, **changes}).eval()


def transformers_encoder(encoder: WhisperEncoder) -> torch.nn.Module:
    """Transformers' own, with the same weights."""
    theirs = TheirEncoder(WhisperConfig(**SIZES)).eval()
    theirs.load_state_dict(encoder.model.state_dict())
    return theirs


@pytest.mark.parametrize("bands", [40, 80, 128])
def test_filters_are_those_of_transformers(bands: int) -> None:
    expected = mel_filter_bank(201, bands, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(slaney_filters(bands, 201), torch.from_numpy(expected.T).float(), rtol=1e-5, atol=1e-8)


def test_an_architecture_that_cannot_be_is_an_error_by_name() -> None:
    for change, part in (
        ({"d_model": 0}, "d_model"),
        ({"encoder_attention_heads": 3}, "heads"),
        ({"activation_function": "relu"}, "activation_function"),
        ({"encoder_layers": "x"}, "layers"),
    ):
        with pytest.raises(ModelError, match=part):
            WhisperEncoder(None, {**SIZES, **change})


def test_log_mel_is_that_of_whisper_where_the_window_is_full() -> None:
    wave = torch.randn(1, 480_000) * 0.1
    expected = WhisperFeatureExtractor()(wave[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    mel, frames = log_mel(wave, torch.tensor([480_000]), 80)
    assert frames.tolist() == [3000]
    # Theirs is reflected at the end of the window, ours is silence there.
    torch.testing.assert_close(mel[:, :, :-2], expected[:, :, :-2], atol=2e-4, rtol=0)


def test_a_whole_window_is_encoded_as_transformers_does() -> None:
    encoder = build()
    wave = torch.randn(1, 480_000) * 0.1
    with torch.inference_mode():
        states, mask = encoder.hidden_states(wave, torch.ones(1, 480_000, dtype=torch.bool))
        mel, _ = log_mel(wave, torch.tensor([480_000]), 80)
        theirs = transformers_encoder(encoder)
        expected = theirs(mel).last_hidden_state
        torch.testing.assert_close(encoder.model.layer_norm(states[-1]), expected, atol=1e-5, rtol=1e-4)
    assert mask.all()
    assert len(states) == 4


def test_an_utterance_is_encoded_alike_alone_and_in_any_batch() -> None:
    encoder, lengths = build(), [3, 161, 32_000, 50_001]
    waves = [torch.randn(n) * 0.1 for n in lengths]
    batch = torch.stack([torch.nn.functional.pad(wave, (0, 60_000 - len(wave)), value=7.0) for wave in waves])
    with torch.inference_mode():
        states, mask = encoder.hidden_states(batch, torch.arange(60_000) < torch.tensor(lengths).unsqueeze(1))
        assert mask.sum(1).tolist() == [1, 1, 100, 157]
        for i, wave in enumerate(waves):
            alone, own = encoder.hidden_states(wave.unsqueeze(0), torch.ones(1, len(wave), dtype=torch.bool))
            assert own.all()
            for together, single in zip(states, alone, strict=True):
                torch.testing.assert_close(together[i][mask[i]], single[0], atol=1e-5, rtol=1e-4)
                assert not together[i][~mask[i]].any()


def test_no_sound_has_no_steps() -> None:
    states, mask = build().hidden_states(torch.zeros(2, 400), torch.tensor([[False], [True]]).expand(2, 400))
    assert mask.sum(1).tolist() == [0, 2]
    assert all(bool(state.isfinite().all()) for state in states)


def test_depth_takes_the_lower_layers() -> None:
    whole = build()
    lower = WhisperEncoder(None, SIZES, depth=2).eval()
    lower.load_state_dict({name: whole.state_dict()[name] for name in lower.state_dict()})
    wave, mask = torch.randn(1, 4000), torch.ones(1, 4000, dtype=torch.bool)
    found, _ = lower.hidden_states(wave, mask)
    for ours, theirs in zip(found, whole.hidden_states(wave, mask)[0], strict=False):
        assert torch.equal(ours, theirs)
    assert len(found) == 3
    assert lower.settings["encoder_layers"] == 2
    with pytest.raises(ModelError, match="depth = 4, but this encoder has 3 layers"):
        WhisperEncoder(None, SIZES, depth=4)


def test_more_than_the_window_is_refused() -> None:
    with pytest.raises(ModelError, match=r"an utterance of 30\.1 s is longer than the 30 s that Whisper reads"):
        build().hidden_states(torch.zeros(1, 481_600), torch.ones(1, 481_600, dtype=torch.bool))


def test_a_folder_of_transformers_is_read(tmp_path: Any) -> None:
    torch.manual_seed(1)
    model = WhisperForConditionalGeneration(WhisperConfig(**{k: v for k, v in SIZES.items() if k != "model_type"}))
    model.save_pretrained(tmp_path)
    encoder = WhisperEncoder(str(tmp_path), None)
    for name, tensor in model.model.encoder.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[name], tensor)
