"""Views from small random models of the real classes: made, killed, made on, and learned from."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from transformers import (
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    SpeechT5Config,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    SpeechT5Tokenizer,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WavLMForXVector,
)

from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, ModelError, RenamedSettingWarning, StoreError
from maeum.models.synthesis.paraphrase import BackTranslation, TranslationConfig, choose
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.preparation.views import ViewsConfig, make_views
from maeum.runs.recipe import Recipe
from maeum.runs.train import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask"),  # transformers' WavLM
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),  # transformers' Marian
]
WORDS = {"hap": "what a lovely day", "ang": "leave me alone now", "neu": "it is half past five", "sad": "so sad i cry"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_sessions: Callable[..., Path]) -> Path:
    return make_sessions(tmp_path_factory.mktemp("iemocap"), WORDS, (1, 2, 4, 5))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translation model, a voice, its vocoder and an x-vector model, small, random and in folders as the hub's."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    texts = folder / "texts.txt"
    texts.write_text("\n".join(f"{said} {i}" for said in WORDS.values() for i in range(20)))
    sentencepiece.SentencePieceTrainer.train(input=str(texts), model_prefix=str(folder / "words"), vocab_size=60,
                                             hard_vocab_limit=False, minloglevel=2)  # fmt: skip
    mel_chunks = [line.split("\t")[0] for line in (folder / "words.vocab").read_text().splitlines()]
    vocabulary = {p: i for i, p in enumerate([*mel_chunks, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    spm = str(folder / "words.model")
    tokenizer = MarianTokenizer(source_spm=spm, target_spm=spm, vocab=str(folder / "vocab.json"), eos_token="</s>",
                                unk_token="<unk>", pad_token="<pad>")  # fmt: skip
    pad = vocabulary["<pad>"]
    tiny = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
            "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
    ends = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": vocabulary["</s>"]}
    marian = MarianConfig(vocab_size=len(vocabulary), d_model=16, forced_eos_token_id=None, **tiny, **ends)
    MarianMTModel(marian).save_pretrained(folder / "translation")
    tokenizer.save_pretrained(folder / "translation")
    spoken = {"speech_decoder_prenet_units": 16, "speech_decoder_postnet_units": 16, "speaker_embedding_dim": 12,
              "num_mel_bins": 20, "max_text_positions": 100, "max_speech_positions": 200}  # fmt: skip
    voice = SpeechT5Config(vocab_size=80, hidden_size=16, **tiny, **spoken)
    SpeechT5ForTextToSpeech(voice).save_pretrained(folder / "voice")
    SpeechT5Tokenizer(spm).save_pretrained(folder / "voice")
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=20, upsample_initial_channel=8, upsample_rates=[8, 8], upsample_kernel_sizes=[16, 16],
        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1]],
    )  # fmt: skip
    SpeechT5HifiGan(vocoder).save_pretrained(folder / "vocoder")
    speaker = WavLMConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8, 8],
        conv_kernel=[10, 8], conv_stride=[10, 16], num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        tdnn_dim=[8, 8, 8, 8, 8], xvector_output_dim=12,
    )  # fmt: skip
    WavLMForXVector(speaker).save_pretrained(folder / "speaker")
    Wav2Vec2FeatureExtractor().save_pretrained(folder / "speaker")
    return folder


def views_config(models: Path, **changes: Any) -> ViewsConfig:
    translation = {"model": str(models / "translation")}
    paraphrase = {"to_pivot": translation, "from_pivot": translation, "samples": 3, "least_alike": 0.0,
                  "length": [0.0, 50.0], "max_tokens": 12}  # fmt: skip
    tts = {"kind": "speecht5", "model": str(models / "voice"), "vocoder": str(models / "vocoder"),
           "speaker": str(models / "speaker")}  # fmt: skip
    return ViewsConfig.parse({"paraphrase": paraphrase, "tts": tts, **changes})


@pytest.fixture(scope="module")
def views(store: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views") / "views"
    report = make_views(store, folder, views_config(models))
    assert (report.made, report.left_out, report.reused) == (32, 0, 0)
    return folder


def test_every_utterance_has_a_twin_in_other_words_and_another_voice(store: Path, views: Path) -> None:
    originals = {row["id"]: row for row in Store(store).rows}
    made = Store(views)
    assert {row["id"] for row in made.rows} == set(originals)
    for number, row in enumerate(made.rows):
        source = row["provenance"]
        voice = originals[source["voice"].removeprefix("iemocap:")]
        assert source["view"] == row["id"]
        assert voice["speaker"] != originals[row["id"]]["speaker"]
        assert voice["session"] == originals[row["id"]]["session"]
        assert row["spoken_text"] == row["text"]
        wave = made.array(number, "wave")
        assert wave is not None
        assert wave.dtype == np.int16
        assert row["mel_chunks_count"] == -(-len(wave) // 6400)
    assert any(row["text"] != originals[row["id"]]["text"] for row in made.rows)
    assert made.manifest["how"]["tts"]["kind"] == "speecht5"
    assert "spoken by" in made.manifest["notes"][0]


def test_a_killed_run_goes_on_without_doing_anything_again(
    store: Path, models: Path, views: Path, tmp_path: Path
) -> None:
    (tmp_path / "how.json").write_text(views_config(models).model_dump_json())
    command = [sys.executable, "-c", "from maeum.cli import main; main()", "augment", str(store), "--out",
               str(tmp_path / "views"), "--config", str(tmp_path / "how.json")]  # fmt: skip
    shards = tmp_path / "views" / "shards"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if shards.is_dir() and list(shards.glob("[!.]*.tar")):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
    finished = {path.name: path.stat().st_mtime_ns for path in shards.glob("[!.]*.tar")}
    assert len(finished) == 1, "it was over before it could be killed"
    report = make_views(store, tmp_path / "views", views_config(models))
    assert (report.shards, report.reused) == (2, 1)
    assert finished.items() <= {path.name: path.stat().st_mtime_ns for path in shards.glob("[!.]*.tar")}.items()
    first, again = Store(views), Store(tmp_path / "views")
    for number, (one, other) in enumerate(zip(first.rows, again.rows, strict=True)):
        assert (one["id"], one["text"], one["content"]) == (other["id"], other["text"], other["content"])
        np.testing.assert_array_equal(first.array(number, "wave"), again.array(number, "wave"))


def test_training_learns_from_twins_and_evaluation_has_none(store: Path, views: Path, tmp_path: Path) -> None:
    data = StoreDataset(store, "train", sound="wave", views=views)
    clip = data[0]
    assert clip.view is not None
    assert clip.view.id == clip.id
    assert clip.view.wave is not None
    assert clip.wave is not None
    assert clip.view.wave.shape != clip.wave.shape
    assert StoreDataset(store, "dev", sound="wave")[0].view is None
    small = {"kind": "small", "widths": [4, 6], "dim": 8, "heads": 2, "feedforward": 8, "layers": 1}
    recipe = {
        "name": "mmer", "model": "mmer", "target": "four-class",
        "network": {"dim": 8, "heads": 2, "feedforward": 8, "project": 6, "freeze_text": False, "speech": small,
                    "text": {"kind": "small", "vocabulary": 60, "width": 8}},
        "tokenizer": {"kind": "small", "vocabulary": 60},
        "train": [{"store": str(store), "views": str(views), "modalities": ["speech", "text"]}],
        "dev": [{"store": str(store), "modalities": ["speech", "text"]}],
        "training": {"epochs": 1, "batch_size": 4, "losses": {"augmented-contrastive": {"weight": 0.1}}},
    }  # fmt: skip
    train(Recipe.parse(recipe), tmp_path / "run")
    assert '"loss_augmented"' in (tmp_path / "run" / "log.jsonl").read_text()


def test_a_voice_that_is_heard_in_a_twin_counts_as_heard(store: Path, models: Path, tmp_path: Path) -> None:
    """With voices of the whole corpus, a session that is left out would be heard in training."""
    make_views(store, tmp_path / "views", views_config(models, others="corpus", paraphrase=None))
    test = {row["id"] for row in Store(store).rows if row["session"] == "Session5"}
    mine = StoreDataset(store, sessions=["Session1", "Session2"], views=tmp_path / "views").members()
    heard = {source.removeprefix("iemocap:") for member in mine for source in member.keys("utterance")}
    assert heard & test
    assert {m.id for m in mine} <= heard


def test_without_models_the_recording_itself_is_varied_and_the_passport_says_so(store: Path, tmp_path: Path) -> None:
    report = make_views(store, tmp_path / "views", ViewsConfig())
    assert (report.made, report.same_words) == (32, 32)
    made = Store(tmp_path / "views")
    assert "no other voice" in made.manifest["notes"][0]
    assert made.rows[0]["spoken_text"] == Store(store).rows[0]["text"]
    first, original = made.array(0, "wave"), Store(store).array(0, "wave")
    assert first is not None
    assert original is not None
    assert first.shape != original.shape or (first != original).any()


def test_what_cannot_be_used_is_refused(store: Path, models: Path, views: Path, tmp_path: Path,
                                        make_iemocap: Callable[..., Path]) -> None:  # fmt: skip
    make_iemocap(tmp_path / "source")
    prepare("iemocap", tmp_path / "source", tmp_path / "plain", PrepareConfig(wave=False))
    with pytest.raises(StoreError, match="--no-wave"):
        make_views(tmp_path / "plain", tmp_path / "x", ViewsConfig())
    with pytest.raises(ConfigError, match="a store of their own"):
        make_views(store, store, ViewsConfig())
    with pytest.raises(StoreError, match="other settings"):
        make_views(store, views, ViewsConfig())
    with pytest.raises(ModelError, match="text-to-speech"):
        make_views(store, tmp_path / "y", ViewsConfig.parse({"tts": {"kind": "speecht5", "model": str(tmp_path)}}))
    with pytest.raises(StoreError, match="the augmented view of none of these"):
        StoreDataset(tmp_path / "plain", sessions=["Session4"], views=views)


def test_settings_are_understood_under_the_names_they_had() -> None:
    translation = {"model": "x"}
    before = {"paraphrase": {"there": translation, "back": translation}, "voice": {"kind": "speecht5", "model": "y"}}
    with pytest.warns(RenamedSettingWarning, match="is now called") as warned:
        config = ViewsConfig.parse(before)
    assert {str(warning.message) for warning in warned} == {
        "the setting 'there' is now called 'to_pivot'", "the setting 'back' is now called 'from_pivot'",
        "the setting 'voice' is now called 'tts'",
    }  # fmt: skip
    present = {"paraphrase": {"to_pivot": translation, "from_pivot": translation},
               "tts": {"kind": "speecht5", "model": "y"}}  # fmt: skip
    assert config == ViewsConfig.parse(present)


def test_a_paraphrase_is_other_and_yet_like_enough() -> None:
    config = BackTranslation(to_pivot=TranslationConfig(model="x"), from_pivot=TranslationConfig(model="x"))
    said = "it is half past five in the afternoon"
    assert choose(said, [said, "it's half past five in the afternoon", "five thirty it is, afternoon"], config) == (
        "five thirty it is, afternoon"
    )
    assert choose(said, ["completely unrelated", said.upper(), "it"], config) is None
    assert choose(said, [], config) is None
