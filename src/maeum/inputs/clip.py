"""One utterance as a `Clip`: the one way from face crops, sound and words to what enters a network.

Preparing a corpus, analysing a recording and predicting from given arguments all end here, so that what a network is
trained and scored on is what it is given in use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from maeum.inputs.faces import without_blank
from maeum.inputs.settings import ClipSettings
from maeum.inputs.speech import in_16_bits, missing_speech_reason, trim_silence
from maeum.inputs.words import missing_words_reason
from maeum.media.mel import to_mel_chunks
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.types import MODALITIES, Clip, Modality, Sound
from maeum.wording import counted, was

_MEL_CHUNKS: tuple[Sound, ...] = ("mel_chunks",)
_NOUN: dict[Modality, str] = {"faces": "faces", "speech": "voices", "text": "words"}


@dataclass(frozen=True)
class CheckedClip:
    """A clip, and why modalities that were given are missing from it."""

    clip: Clip
    missing: Mapping[Modality, str] = field(default_factory=dict)
    """Modality -> reason why what was given of it cannot be used."""
    notes: tuple[str, ...] = ()
    """What to know about the modalities that the clip has."""
    duration_s: float | None = None
    """Seconds of the recording that were read; None where there were neither sound nor moving pictures."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of the missing modalities, in the order of modalities."""
        return tuple(self.missing[m] for m in MODALITIES if m in self.missing)

    def limited_to(self, readable: Iterable[Modality]) -> CheckedClip:
        """Without the modalities that a model does not read; each becomes a missing one."""
        unread = {m: f"this model does not read {_NOUN[m]}" for m in self.clip.modalities if m not in tuple(readable)}
        return self.without(unread)

    def without(self, missing: Mapping[Modality, str]) -> CheckedClip:
        """Without some modalities, for the reasons given."""
        if not missing:
            return self
        clip = replace(
            self.clip,
            faces=None if "faces" in missing else self.clip.faces,
            mel_chunks=None if "speech" in missing else self.clip.mel_chunks,
            wave=None if "speech" in missing else self.clip.wave,
            text=None if "text" in missing else self.clip.text,
        )
        return replace(self, clip=clip, missing={**self.missing, **missing})


def make_clip(
    id: str,
    settings: ClipSettings,
    *,
    faces: Tensor | None = None,
    wave: Tensor | None = None,
    text: str | None = None,
    sounds: Collection[Sound] = _MEL_CHUNKS,
    allow_blank: bool = False,
    require_voice: bool = False,
    longest_s: float | None = None,
    missing: Mapping[Modality, str] | None = None,
) -> CheckedClip:
    """One utterance as tensors, without what shows, sounds or says nothing.

    Args:
        id: of the clip.
        settings: how.
        faces: crops ``(n, 3, 48, 48)`` uint8 of one person in the order of time; empty where a face was looked for in
            vain; None where none was looked for.
        wave: ``(n,)`` float32 at 16 kHz, or None.
        text: words, or None.
        sounds: what is made of the wave: log-mel chunks, the wave itself, or both, as a store may hold.
        allow_blank: take pictures of one colour too, as where a frame's centre stands in for a face.
        require_voice: take sound without voice activity for none; not for corpora, which say that somebody speaks.
        longest_s: as much sound as the network reads at most; a note says when there is more.
        missing: modalities of which it is known already why they are missing.
    """
    reasons, notes = dict(missing or {}), list[str]()
    if faces is not None and len(faces) == 0:
        reasons.setdefault("faces", "no face")
        faces = None
    elif faces is not None and not allow_blank:
        given, faces = len(faces), without_blank(faces)
        if len(faces) == 0:
            reasons["faces"], faces = "no face: the picture is of one colour", None
        elif len(faces) < given:
            less = given - len(faces)
            notes.append(f"{counted(less, 'picture')} of one colour {was(less)} left out")
    mel_chunks = samples = None
    if wave is not None and (reason := missing_speech_reason(wave, require_voice=require_voice)):
        reasons["speech"] = reason
    elif wave is not None:
        wave = trim_silence(wave) if settings.trim_silence else wave
        if longest_s is not None and len(wave) / SAMPLE_RATE_HZ > longest_s:
            notes.append(f"of {len(wave) / SAMPLE_RATE_HZ:.0f} s of sound the middle {longest_s:.0f} s were used")
        mel_chunks = to_mel_chunks(wave) if "mel_chunks" in sounds else None
        samples = in_16_bits(wave) if "wave" in sounds else None
    if text is not None and (reason := missing_words_reason(text)):
        reasons["text"], text = reason, None
    return CheckedClip(Clip(id, faces, mel_chunks, text, wave=samples), reasons, tuple(notes))
