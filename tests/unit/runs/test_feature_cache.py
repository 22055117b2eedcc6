"""What frozen parts of a network make of a corpus, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maeum.data.collate import Collator
from maeum.data.dataset import StoreDataset
from maeum.errors import StoreError
from maeum.models.encoders.pretrained_speech import PretrainedLayers, PretrainedSpeech, PretrainedSpeechConfig
from maeum.models.encoders.speech import HubSpeechConfig, HubSpeechEncoder
from maeum.models.encoders.text import HubTextConfig, HubTextEncoder
from maeum.models.mmer import MMER, MMERConfig
from maeum.models.network import HasFrozenEncoders
from maeum.models.networks import MODELS
from maeum.preparation.views import ViewsConfig, make_views
from maeum.runs import feature_cache
from maeum.runs.feature_cache import FeatureCache, cache_sounds, cache_texts

ROBERTA: dict[str, Any] = {
    "model_type": "roberta", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 12, "max_position_embeddings": 40, "pad_token_id": 1,
}  # fmt: skip
WHISPER: dict[str, Any] = {
    "model_type": "whisper", "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
    "num_mel_bins": 16, "max_source_positions": 400,
}  # fmt: skip
WAV2VEC2: dict[str, Any] = {
    "model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 24, "conv_dim": [8, 8, 8], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 4],
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[0, *(3 + sum(map(ord, word)) % 37 for word in text.split()), 2] for text in texts]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_sessions: Callable[..., Path]) -> Path:
    words = {"hap": "to be", "ang": "or not to be", "neu": "that is", "sad": "the question"}
    return make_sessions(tmp_path_factory.mktemp("iemocap"), words, (1, 2), numbered=False)


@pytest.fixture
def data(store: Path) -> StoreDataset:
    for path in (store / "cache").rglob("*.safetensors"):
        path.unlink()
    return StoreDataset(store, modalities=("speech", "text"), sound="wave")


class CountedWords(HubTextEncoder):
    """Counts the texts that it reads."""

    read = 0

    def sequence(self, tokens: Tensor, mask: Tensor) -> Tensor:
        self.read += len(tokens)
        return super().sequence(tokens, mask)


class CountedSound(HubSpeechEncoder):
    """Counts the sounds that it hears, and is killed at one."""

    heard, dies_at = 0, -1

    def frozen_features(self, wave: Tensor) -> Tensor:
        if self.heard == self.dies_at:
            raise KeyboardInterrupt
        self.heard += 1
        return super().frozen_features(wave)


def different(data: StoreDataset) -> int:
    return len({wave.numpy().tobytes() for wave in data.sounds()})


@pytest.fixture
def views(data: StoreDataset, tmp_path: Path) -> StoreDataset:
    """With augmented views from `maeum augment`, whose sounds are varied recordings."""
    make_views(data.store.folder, tmp_path / "views", ViewsConfig())
    return StoreDataset(data.store, modalities=("speech", "text"), sound="wave", views=tmp_path / "views")


def words() -> CountedWords:
    torch.manual_seed(0)
    return CountedWords(HubTextConfig(architecture=ROBERTA)).eval()


def sound() -> CountedSound:
    torch.manual_seed(0)
    return CountedSound(HubSpeechConfig(architecture=WAV2VEC2))


def test_every_text_is_read_once_and_found_again(store: Path, data: StoreDataset) -> None:
    encoder, collate = words(), Collator(tokenize)
    find = cache_texts([StoreDataset(store, sessions=["Session1"])], encoder, collate)
    assert encoder.read == 4
    again = cache_texts([data], encoder, collate)
    assert encoder.read == 4
    row = collate.tokens([data[0]])[0]
    assert row is not None
    expected = encoder.sequence(row.unsqueeze(0), torch.ones(1, len(row), dtype=torch.bool))[0]
    for found in (find(row), again(row)):
        assert found is not None
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert find(torch.tensor([0, 5, 2])) is None


def test_every_sound_is_heard_once_and_found_again(store: Path, data: StoreDataset) -> None:
    encoder = sound()
    one = StoreDataset(store, modalities=("speech",), sound="wave", sessions=["Session1"])
    cache_sounds([one], encoder, Collator())
    assert encoder.heard == different(one)
    find = cache_sounds([data], encoder, Collator())
    assert encoder.heard == different(data) > different(one)
    wave = data[-1].wave
    assert wave is not None
    found = find(wave)
    assert found is not None
    torch.testing.assert_close(found, encoder.frozen_features(wave))
    assert find(wave + 0.1) is None


def test_sounds_are_heard_as_long_as_they_are_in_a_batch(data: StoreDataset) -> None:
    find = cache_sounds([data], sound(), Collator(max_mel_chunks=2))
    assert Collator(max_mel_chunks=2, sound_features=find)([data[0], data[1]]).sound_features is not None
    assert Collator(sound_features=find)([data[0], data[1]]).sound_features is None


def test_a_kill_loses_no_file_that_was_written(data: StoreDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_FILE_BYTES", 1)
    encoder, collate = sound(), Collator(tokenize)
    encoder.dies_at = 1
    with pytest.raises(KeyboardInterrupt):
        cache_sounds([data], encoder, collate)
    encoder.dies_at = -1
    cache_sounds([data], encoder, collate)
    assert encoder.heard == different(data) > 1


def test_what_twins_say_and_sound_like_is_kept_where_it_does_not_vary(views: StoreDataset) -> None:
    encoder = sound()
    find = cache_sounds([views], encoder, Collator(), views=False)
    batch = Collator(sound_features=find)([views[0], views[1]])
    assert batch.sound_features is not None
    assert batch.view is not None
    assert batch.view.sound_features is None
    find = cache_sounds([views], encoder, Collator())
    batch = Collator(sound_features=find)([views[0], views[1]])
    assert batch.view is not None
    assert batch.view.sound_features is not None
    assert views[0].view is not None
    assert views[0].view.wave is not None
    alone = encoder.frozen_features(views[0].view.wave)
    torch.testing.assert_close(batch.view.sound_features[0, : len(alone)], alone)
    assert encoder.heard > different(views)


def test_a_batch_has_all_or_nothing(data: StoreDataset) -> None:
    encoder, collate = words(), Collator(tokenize)
    vectors, heard = cache_texts([data], encoder, collate), cache_sounds([data], sound(), collate)
    kept = Collator(tokenize, vectors=vectors, sound_features=heard)
    clips = [data[0], replace(data[1], text=None), replace(data[2], wave=None)]
    batch = kept(clips)
    assert batch.vectors is not None
    assert batch.sound_features is not None
    assert not batch.vectors[1].any(), "which says nothing"
    assert not batch.sound_features[2].any(), "which has no sound"
    assert kept([*clips, replace(data[3], text="never read")]).vectors is None
    one_more = encoder.read
    cache_texts(
        [StoreDataset(data.store, transcripts={data[0].id: "one more", data[1].id: data[1].text or ""})],
        encoder,
        collate,
    )
    assert encoder.read == one_more + 1


def test_sounds_too_short_for_a_step_are_known_too(data: StoreDataset, tmp_path: Path) -> None:
    encoder = sound()
    assert len(encoder.frozen_features(torch.zeros(20))) == 0
    kept = FeatureCache(tmp_path)
    long, short = data[0].wave, torch.zeros(20)
    assert long is not None
    kept.write([(wave, encoder.frozen_features(wave)) for wave in (long, short)])
    batch = Collator(sound_features=kept)([data[0], replace(data[1], wave=short)])
    assert batch.sound_features is not None
    plain = Collator()([data[0], replace(data[1], wave=short)])
    read, expected = (encoder.eval()(given) for given in (batch, plain))
    assert read is not None
    assert expected is not None
    torch.testing.assert_close(read, expected)
    assert encoder.frozen_features(data[0].wave[:4000]).shape == (int(encoder.frames(torch.tensor(4000))), 8)  # type: ignore[index]


@pytest.mark.parametrize("pooling", ["attentive", "mean", "each", None])
@pytest.mark.parametrize("silence_db", [None, 35.0])
@pytest.mark.parametrize(("trained", "shrink"), [(0, 1), (1, 1), (0, 3), (1, 3)])
def test_frozen_layers_are_heard_once_and_answer_alike(
    data: StoreDataset,
    monkeypatch: pytest.MonkeyPatch,
    pooling: Any,
    silence_db: float | None,
    trained: int,
    shrink: int,
) -> None:
    """Of a network of its own, and (no pooling) the steps that MMER reads; also below a layer that learns."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "architecture": WHISPER,
        "silence_db": silence_db,
        "trained_layers": trained,
        "shrink": shrink,
    }
    encoder = (
        PretrainedLayers(PretrainedSpeechConfig(**settings))
        if pooling is None
        else PretrainedSpeech(PretrainedSpeechConfig(**settings, pooling=pooling))
    )
    with torch.no_grad():
        encoder.mix.copy_(torch.randn(len(encoder.mix)))
    find = cache_sounds([data], encoder, Collator())
    short = torch.cat((torch.zeros(4000), data[1].wave[:5000], torch.zeros(9000)))  # type: ignore[index]
    clips = [data[0], data[1], replace(data[2], wave=None)]
    if trained:  # what is kept is of the layers below
        with torch.no_grad():
            for parameter in encoder.encoder.parameters():
                parameter.add_(0.1 if parameter.requires_grad else 0)
    expected = encoder(Collator()(clips))
    assert encoder(Collator(sound_features=find)([replace(data[1], wave=short)])) is not None, "which is not kept"
    monkeypatch.setattr(encoder.encoder, "hidden_states", None)
    batch = Collator(sound_features=find)(clips)
    assert batch.sound_features is not None
    found = encoder(batch)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0][found[1]], expected[0][found[1]], rtol=0, atol=5e-3)


def test_layers_that_hide_something_are_not_kept() -> None:
    for architecture, settings, kept in (
        (WHISPER, {}, 3), (WHISPER, {"trained_layers": 1}, 2), (WHISPER, {"mask_time_s": 0.1}, None),
        (WHISPER, {"mask_bands": 4}, None), (WAV2VEC2, {}, 2), (WAV2VEC2, {"trained_layers": 1}, None),
    ):  # fmt: skip
        config = PretrainedSpeechConfig(architecture=architecture, **settings)  # type: ignore[arg-type]
        assert PretrainedLayers(config).kept_states == kept, settings
    for network in (
        MODELS["ssl-linear"].build({"labels": 4, "architecture": WHISPER, "mask_time_s": 0.1}),
        MODELS["fe2e"].build({"labels": 4, "faces": None}),
        MODELS["fe2e"].build({"labels": 4, "dim": 8, "faces": None, "speech": {"kind": "pretrained", "architecture":
                              WHISPER, "mask_bands": 2}}),
    ):  # fmt: skip
        assert isinstance(network, HasFrozenEncoders)
        assert network.frozen_speech_encoder() is None
        assert network.frozen_text_encoder() is None


def test_another_encoder_finds_nothing(data: StoreDataset) -> None:
    texts, sounds, collate = words(), sound(), Collator(tokenize)
    cache_texts([data], texts, collate)
    cache_sounds([data], sounds, collate)
    with torch.no_grad():
        next(texts.parameters())[0, 0] += 1
        next(sounds.model.feature_extractor.parameters())[0, 0] += 1
    read, heard = texts.read, sounds.heard
    cache_texts([data], texts, collate)
    cache_sounds([data], sounds, collate)
    assert (texts.read, sounds.heard) == (2 * read, 2 * heard)
    architecture = {**(sounds.config.architecture or {}), "feat_extract_activation": "relu"}
    for times, changes in ((3, {"standardise": False}), (4, {"architecture": architecture})):
        sounds.config = sounds.config.model_copy(update=changes)
        cache_sounds([data], sounds, collate)
        assert sounds.heard == times * heard


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    kept = FeatureCache(tmp_path)
    content = torch.tensor([0, 5, 2])
    kept.write([(content, torch.ones(3, 2))])
    assert content in kept
    path = next(tmp_path.rglob("*.safetensors"))
    path.unlink()
    path.write_bytes(b"x")
    with pytest.raises(StoreError, match="is damaged"):
        FeatureCache(tmp_path)


def test_a_file_damaged_inside_is_named_when_it_is_read(tmp_path: Path) -> None:
    kept = FeatureCache(tmp_path)
    content = torch.tensor([0, 5, 2])
    kept.write([(content, torch.ones(100, 2))])
    path = next(tmp_path.rglob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-8:-4] = bytes(4)
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(StoreError, match="wrong checksum"):
        FeatureCache(tmp_path)(content)


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be written"):
        FeatureCache(tmp_path / "cache").write([(torch.zeros(1), torch.zeros(1))])


def network() -> MMER:
    torch.manual_seed(0)
    sizes = {"labels": 3, "dim": 8, "heads": 2, "feedforward": 8, "project": 4, "characters": ["", "A"]}
    encoders = {"text": {"kind": "hub", "architecture": ROBERTA}, "speech": {"kind": "hub", "architecture": WAV2VEC2}}
    return MMER(MMERConfig.parse({**sizes, **encoders})).eval()


def test_mmer_09_mask_and_kept_vectors_are_of_the_same_tokens(data: StoreDataset) -> None:
    """Published: the mask and the embeddings read from files could disagree in length."""
    model = network()
    encoder = model.encoders["text"]
    assert isinstance(encoder, HubTextEncoder)
    plain = Collator(tokenize, pad_id=1, max_tokens=5)
    find = cache_texts([data], encoder, plain)
    batch = Collator(tokenize, pad_id=1, max_tokens=5, vectors=find)([data[i] for i in range(6)])
    assert batch.vectors is not None
    assert batch.tokens_mask is not None
    assert batch.vectors.shape[:2] == batch.tokens_mask.shape
    encoder.sequence = None  # type: ignore[assignment, method-assign]
    with_kept = model(batch).logits
    del encoder.sequence
    torch.testing.assert_close(with_kept, model(plain([data[i] for i in range(6)])).logits, rtol=1e-5, atol=1e-5)


def test_kept_sounds_change_no_answer(data: StoreDataset) -> None:
    model = network()
    encoder = model.encoders["speech"]
    assert isinstance(encoder, HubSpeechEncoder)
    plain = Collator(tokenize, pad_id=1)
    find = cache_sounds([data], encoder, plain)
    clips = [data[i] for i in range(0, len(data), 3)]
    batch = Collator(tokenize, pad_id=1, sound_features=find)(clips)
    assert batch.sound_features is not None
    expected = model(plain(clips))
    encoder.model.feature_extractor.read = None
    said = model(batch)
    torch.testing.assert_close(said.logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(said.auxiliary["ctc.logits"], expected.auxiliary["ctc.logits"], rtol=1e-5, atol=1e-5)
    new = replace(clips[1], wave=torch.randn(9000))
    assert Collator(sound_features=find)([clips[0], new]).sound_features is None
