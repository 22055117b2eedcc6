"""A store of augmented views: each utterance in other words and in another voice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from rich.console import Console
from torch import Tensor

from maeum.config import MOST_SEED, Config
from maeum.corpora.base import LeftOut
from maeum.data.augment_wave import WaveAugment, augment_wave
from maeum.data.shards import StoreItem, as_samples, digest
from maeum.data.store import Store, spoken_text_of
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError, StoreError
from maeum.media.mel import to_mel_chunks
from maeum.models.encoders.character_vocabulary import without_annotations
from maeum.models.synthesis.paraphrase import BackTranslation, Paraphraser
from maeum.models.synthesis.phrases import Phrases, PhrasesConfig
from maeum.models.synthesis.tts import TTS, SpeechT5Config, SpeechT5TTS
from maeum.preparation.command_tts import CommandTTS, CommandTTSConfig
from maeum.progress import progress_bar
from maeum.types import Utterance

#: Utterances of a shard; what is lost at most when a run is killed.
_SHARD = 16
#: The shortest recording of a voice that text-to-speech can imitate, in samples (0.5 s).
_LEAST_REFERENCE = 8_000
#: Keys of the source's manifest that hold for its augmented views, too.
_COPIED_KEYS = ("licence", "citation", "label_set", "scales", "targets", "other_labels", "versions")


class WaveformConfig(Config):
    """No text-to-speech and no other voice: the recording itself, varied."""

    kind: Literal["waveform"] = "waveform"
    vary: WaveAugment = WaveAugment(speed=0.15, pitch=4.0, noise=0.5, room=0.5)
    """How the recording varies."""


class ViewsConfig(Config):
    """How augmented views are made."""

    paraphrase: Annotated[BackTranslation | PhrasesConfig, Field(discriminator="kind")] | None = None
    """How the words are replaced by others, with the kind ``translation`` where none is named; they stay when null."""
    tts: Annotated[SpeechT5Config | CommandTTSConfig | WaveformConfig, Field(discriminator="kind")] = WaveformConfig()
    """What speaks the words: a text-to-speech model, a ``command`` of the system in voices of its own, or
    ``waveform``, the recording itself, varied."""
    others: Literal["session", "corpus"] = "session"
    """Whose voice the text-to-speech model imitates: somebody else of the same ``session`` (of the same part, where
    there are no sessions), so that no voice of a session that is left out for testing is in training; or anybody of the
    ``corpus``."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Of all random choices."""

    @field_validator("paraphrase", mode="before")
    @classmethod
    def _translation_is_the_first_kind(cls, value: Any) -> Any:
        """There were no others once."""
        return {"kind": "translation", **value} if isinstance(value, dict) else value


@dataclass(frozen=True)
class ViewsReport:
    """What was made. reused: shards that existed. same_words: views with the words of their original."""

    store: Path
    made: int
    left_out: int
    shards: int
    reused: int
    same_words: int


def make_views(
    source: Path | str, folder: Path | str, config: ViewsConfig, *, device: str = "cpu", restart: bool = False,
    console: Console | None = None,
) -> ViewsReport:  # fmt: skip
    """Make, or go on making, the augmented views of all utterances of a store that have words and sound.

    Args:
        source: a store that keeps the sound itself.
        folder: where the augmented views' store is to be.
        config: how.
        device: where models run.
        restart: throw away what was made with other settings.
        console: where progress is drawn; None draws none.

    Raises:
        StoreError: when the source cannot be read, keeps no sound, or the folder cannot be used.
        ModelError: when a model cannot be had.
    """
    store, folder = Store(source), Path(folder)
    voiced = [i for i, row in enumerate(store.rows) if row["wave_count"]]
    if not voiced:
        raise StoreError("does not keep the sound itself", item=store.folder, remedy="Prepare it without --no-wave.")
    if folder.resolve() == store.folder.resolve():
        raise ConfigError("augmented views have a store of their own", item=folder, remedy="Choose another folder.")
    usable = [i for i in voiced if without_annotations(spoken_text_of(store.rows[i]) or "")]
    rows, chosen = store.rows, set(usable)
    gone = [
        LeftOut(row["id"], "has no sound" if not row["wave_count"] else "its words are not known", row["part"])
        for i, row in enumerate(rows)
        if i not in chosen
    ]
    made_from = {"augmented views of": store.manifest["name"], "source": store.manifest["settings"],
                 "how": config.model_dump(mode="json")}  # fmt: skip
    if isinstance(config.paraphrase, PhrasesConfig):
        made_from["phrases"] = Phrases(config.paraphrase).content
    with StoreWriter(folder, made_from, restart=restart) as out:
        groups = [usable[i : i + _SHARD] for i in range(0, len(usable), _SHARD)]
        plan = [(out.shard_path([f"{rows[i]['id']} {rows[i]['content']}" for i in group]), group) for group in groups]
        missing = [(path, group) for path, group in plan if not out.has(path)]
        maker = _Maker(store, voiced, config, device) if missing else None
        with progress_bar(console) as bar:
            task = bar.add_task("views", total=len(usable))
            bar.advance(task, len(usable) - sum(len(group) for _, group in missing))
            for path, group in missing:
                assert maker is not None
                write_shard(path, (maker(i) for i in group), lambda: bar.advance(task))
        manifest = out.finish(
            [path for path, _ in plan],
            {
                **{k: v for k, v in store.manifest.items() if k in _COPIED_KEYS},
                "name": store.manifest["name"],
                "title": f"Views of {store.manifest.get('title', store.manifest['name'])}",
                "modalities": ["speech", "text"],
                "views_of": store.manifest["name"],
                "how": made_from["how"],
                "notes": [_format_method(config)],
                "left_out": [{"id": item.id, "reason": item.reason, "part": item.part} for item in gone],
            },
        )
    made = Store(folder)
    same = sum("same words" in note for row in made.rows for note in row["notes"])
    return ViewsReport(folder, len(made), len(manifest["left_out"]), len(plan), len(plan) - len(missing), same)


class _Maker:
    """Makes one augmented view after the other."""

    def __init__(self, store: Store, voiced: Sequence[int], config: ViewsConfig, device: str) -> None:
        self.store, self.config = store, config
        self.paraphrase: Callable[[str, int], str | None] | None = None
        if isinstance(config.paraphrase, PhrasesConfig):
            self.paraphrase = Phrases(config.paraphrase)
        elif config.paraphrase is not None:
            self.paraphrase = Paraphraser(config.paraphrase, device)
        self.tts: TTS | None = None
        if isinstance(config.tts, SpeechT5Config):
            self.tts = SpeechT5TTS(config.tts, device)
        elif isinstance(config.tts, CommandTTSConfig):
            self.tts = CommandTTS(config.tts)
        self.by_group: dict[str, list[int]] = {}
        for i in voiced:
            if store.rows[i]["wave_count"] < _LEAST_REFERENCE:
                continue
            self.by_group.setdefault(self._group(store.rows[i]), []).append(i)

    def __call__(self, number: int) -> StoreItem | LeftOut:
        row = self.store.rows[number]
        seed = int.from_bytes(hashlib.blake2b(f"{self.config.seed} {row['id']}".encode(), digest_size=7).digest())
        words = without_annotations(spoken_text_of(row) or "")
        # In a collage text and voice are different people's: its text is read, its sound says something else.
        read = row["text"] if row["spoken_text"] and row["text"] != row["spoken_text"] else None
        notes: list[str] = []
        spoken = self._in_other_words(words, seed, notes if not read else [])
        text = self._in_other_words(read, seed, notes) if read else spoken
        provenance = {"view": row["id"]}
        if self.tts is None:
            assert isinstance(self.config.tts, WaveformConfig)
            wave = augment_wave(self._wave(number), self.config.tts.vary, torch.Generator().manual_seed(seed))
            spoken = words
        else:
            reference = torch.zeros(0)
            if (own := self.tts.own_voice(seed)) is not None:
                provenance["tts"] = own
            elif (other := self._other(number, seed)) is not None:
                reference = self._wave(other)
                provenance["voice"] = f"{self.store.manifest['name']}:{self.store.rows[other]['id']}"
            else:
                return LeftOut(row["id"], "there is nobody else whose voice it could have", row["part"])
            try:
                wave = self.tts.speak(spoken, reference, seed)
            except (RuntimeError, ValueError, IndexError) as error:
                return LeftOut(row["id"], f"the model could not say it ({str(error).splitlines()[0]})", row["part"])
        if not len(wave) or (self.tts is not None and not wave.any()):
            return LeftOut(row["id"], "the text-to-speech model gave no sound", row["part"])
        return StoreItem(
            Utterance(id=row["id"], part=row["part"], session=row["session"], text=text),
            mel_chunks=to_mel_chunks(wave).numpy().astype(np.float16),
            wave=as_samples(wave.numpy()),
            content=digest(row["content"], provenance, text, *([spoken] if read else [])),
            notes=tuple(notes),
            provenance=provenance,
            spoken_text=spoken,
        )

    def _in_other_words(self, text: str, seed: int, notes: list[str]) -> str:
        """A paraphrase; the text itself, which is noted, where there is none."""
        if self.paraphrase is not None and (other := self.paraphrase(text, seed)) is not None:
            return other
        reason = {"": "", "translation": ": no paraphrase was like enough and other", "phrases": ": no phrase fits"}
        kind = "" if self.config.paraphrase is None else self.config.paraphrase.kind
        notes.append(f"same words{reason[kind]}")
        return text

    def _group(self, row: Mapping[str, Any]) -> str:
        if self.config.others == "corpus":
            return ""
        return f"session {row['session']}" if row["session"] is not None else f"part {row['part']}"

    def _other(self, number: int, seed: int) -> int | None:
        """An utterance of somebody else."""
        row = self.store.rows[number]
        others = [i for i in self.by_group.get(self._group(row), ()) if self.store.rows[i]["speaker"] != row["speaker"]]
        return others[seed % len(others)] if others else None

    def _wave(self, number: int) -> Tensor:
        wave = self.store.wave(number)
        assert wave is not None
        return torch.from_numpy(wave)


def _format_method(config: ViewsConfig) -> str:
    """How the views were made, for the notes of their store."""
    words = config.paraphrase
    text = "the same words"
    if isinstance(words, BackTranslation):
        text = f"words translated by {words.to_pivot.model} and back by {words.from_pivot.model}"
    elif words is not None:
        sources = [] if words.table is None else [f"the table {words.table.name}"]
        sources += [] if words.rules is None else [f"{words.rules} rules"]
        text = f"other words by {' and '.join(sources)}"
    if isinstance(config.tts, WaveformConfig):
        return f"{text}; the recordings themselves, varied in speed, pitch, noise and room: no other voice"
    if isinstance(config.tts, CommandTTSConfig):
        voices = f" in the voices {', '.join(config.tts.voices)}" if config.tts.voices else ""
        return f"{text}, spoken by {Path(config.tts.command[0]).name}{voices}"
    return f"{text}, spoken by {config.tts.model} in voices of others"


__all__ = ["ViewsConfig", "ViewsReport", "WaveformConfig", "make_views"]
