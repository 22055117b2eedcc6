from __future__ import annotations

import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from maeum.asr.decoder import Decoder, Symbols, _rule_timestamps, decode_greedily

SYMBOLS = Symbols(start=20, end=19, transcribe=21, no_speech=22, first_timestamp=30, suppressed=(3, 20, 21, 22),
                  suppressed_first=(5, 19))  # fmt: skip


@pytest.fixture(scope="module")
def model() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, vocab_size=130, num_mel_bins=80, max_source_positions=50, max_target_positions=40,
        encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24,
        decoder_ffn_dim=20, pad_token_id=1, bos_token_id=2, eos_token_id=19, decoder_start_token_id=20,
    )  # fmt: skip
    return WhisperForConditionalGeneration(config).eval()


def test_read_in_steps_it_is_transformers_decoder(model: WhisperForConditionalGeneration) -> None:
    encoded, tokens = torch.randn(3, 9, 16), torch.randint(0, 130, (3, 7))
    with torch.inference_mode():
        expected = model.proj_out(model.model.decoder(input_ids=tokens, encoder_hidden_states=encoded)[0])
        decoder = Decoder(model.model.decoder, encoded, 7)
        found = torch.cat([decoder.read(tokens[:, a:b]) for a, b in ((0, 3), (3, 4), (4, 6), (6, 7))], 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_attention_to_the_sound_is_transformers(model: WhisperForConditionalGeneration) -> None:
    encoded, tokens = torch.randn(2, 9, 16), torch.randint(0, 130, (2, 5))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        expected = model.model.decoder(
            input_ids=tokens, encoder_hidden_states=encoded, output_attentions=True
        ).cross_attentions
        decoder = Decoder(model.model.decoder, encoded, 5)
        decoder.read(tokens, attend=True)
    model.set_attn_implementation("sdpa")
    for layer, attention in enumerate(expected):
        torch.testing.assert_close(decoder.attended[layer], attention, atol=1e-5, rtol=1e-4)


def test_a_stretch_is_decoded_alike_alone_and_with_others(model: WhisperForConditionalGeneration) -> None:
    encoded, ends_s = torch.randn(4, 9, 16), torch.tensor([0.3, 0.6, 1.0, 5.0])
    prompt = torch.tensor([[20, 21]])
    with torch.inference_mode():
        together = decode_greedily(
            Decoder(model.model.decoder, encoded, 30), SYMBOLS, prompt.expand(4, -1), ends_s, most=20
        )
        for row in range(4):
            decoder = Decoder(model.model.decoder, encoded[row : row + 1], 30)
            alone = decode_greedily(decoder, SYMBOLS, prompt, ends_s[row : row + 1], most=20)[0]
            assert alone.tokens == together[row].tokens
            assert not set(alone.tokens) & set(SYMBOLS.suppressed)
            assert alone.tokens[0] >= SYMBOLS.first_timestamp


@pytest.mark.parametrize(("before", "allowed"), [
    ([], range(30, 81)),  # first a timestamp within a second
    ([40], [*range(30)]),  # then text
    ([40, 1], [*range(30), *range(41, 130)]),  # text goes on, or ends later
    ([40, 1, 45], [*range(19, 30), *range(45, 130)]),  # it has ended: over, or the next begins
    ([40, 1, 45, 45], [*range(30)]),
])  # fmt: skip
def test_rules_of_timestamps(before: list[int], allowed: list[int]) -> None:
    logits = torch.zeros(130)
    logits[:30] = 9.0  # text is likelier than all timestamps together
    if not before:
        logits[:30] = -9.0
    _rule_timestamps(logits, before, SYMBOLS)
    assert logits.isfinite().nonzero().flatten().tolist() == list(allowed)


def test_timestamps_win_where_together_they_are_likelier() -> None:
    logits = torch.zeros(130)
    logits[7] = 1.0
    _rule_timestamps(logits, [40, 1], SYMBOLS)
    assert not logits[:30].isfinite().any()
