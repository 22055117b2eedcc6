"""A trained model in use: predictions about what it is given, and timelines of recordings."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maeum.analysis.evidence import (
    NO_VOICE,
    SILENCE_DBFS,
    Evidence,
    check_audio,
    check_faces,
    check_text,
    collect,
    loudest_dbfs,
    why_no_speech,
)
from maeum.analysis.observe import Progress, RecordingAudio, RecordingFaces, listen, watch, wave_of
from maeum.analysis.segments import PlannedSegment, SegmentPlan, plan_segments
from maeum.analysis.words import MODALITY_NAMES, percent
from maeum.data.collate import Collator
from maeum.devices import check_device
from maeum.errors import InputError, MediaError
from maeum.media.activity import speech_regions
from maeum.media.audio import SAMPLE_RATE_HZ
from maeum.media.faces import FaceDetector
from maeum.media.info import probe
from maeum.media.text import TranscriptLine, read_transcript
from maeum.models.card import ModelCard
from maeum.models.encoders.character_vocabulary import without_annotations
from maeum.models.network import TranscribesSpeech, transcriber
from maeum.models.pretrained import EMBEDDED, Pretrained, embedded_folder, load_pretrained, subset_name
from maeum.types import MODALITIES, Modality, ModalityOpinion, Prediction, Segment, Timeline

_CLIPS_AT_ONCE = 8
#: A text with a larger share of letters that the model does not know is not read.
_MOST_UNREAD = 0.5


class Recognizer:
    """Says which emotion faces, a voice and words express, as far as its model can tell: with labels, or on scales.

    It holds no state between calls, so threads may share one. Equal input gives equal answers.

    Args:
        pretrained: the trained model; see `load`.
    """

    def __init__(self, pretrained: Pretrained) -> None:
        self.pretrained = pretrained
        pretrained.model.eval()
        settings = pretrained.settings
        self.modalities: tuple[Modality, ...] = pretrained.model.modalities
        self._collate = Collator(
            pretrained.tokenizer,
            pad_id=pretrained.tokenizer.pad_id if pretrained.tokenizer else 0,
            max_tokens=settings.max_tokens,
            max_frames=settings.max_frames,
            max_mel_chunks=settings.max_mel_chunks,
        )
        self._device = next((p.device for p in pretrained.model.parameters()), torch.device("cpu"))
        self._detector: FaceDetector | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Recognizer({self.pretrained.name!r}, labels={list(self.labels)}, modalities={list(self.modalities)})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names it answers with: of labels, or of scales."""
        return self.pretrained.label_set.names

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each scale it answers with; nothing of a model that answers with labels."""
        return self.pretrained.label_set.scales

    @property
    def card(self) -> ModelCard:
        """What its model was trained on, its licence, its scores and its limits."""
        return self.pretrained.card

    def predict(
        self,
        *,
        audio: Any = None,
        sample_rate_hz: int | None = None,
        faces: Any = None,
        text: str | None = None,
        min_confidence: float = 0.0,
    ) -> Prediction:
        """What one utterance expresses. Any subset of faces, voice and words will do.

        Args:
            audio: sound, ``(samples,)`` or ``(channels, samples)``; floats at full scale 1.0, or integers.
            sample_rate_hz: its rate; needed with ``audio``.
            faces: pictures of one person's face in the order of time, each uint8 RGB ``(height, width, 3)`` of any
                size, about one every half second.
            text: the words that were said.
            min_confidence: below this confidence it abstains; of a model of labels.

        Returns:
            `Prediction`. Where nothing given can be used (no voice, no face, no word), its label is None, ``reason``
            says why, and its probabilities are equal; of a model of scales there are no values then.

        Raises:
            InputError: when an argument is not what it should be; names the argument and what to do.
        """
        self._check_confidence(min_confidence)
        if audio is None and faces is None and text is None:
            raise InputError("nothing was given", item="predict", remedy="Give at least one of audio=, faces=, text=.")
        if audio is None and sample_rate_hz is not None:
            raise InputError("was given without audio", item="sample_rate_hz", remedy="Add audio=, or leave it out.")
        wave = None if audio is None else wave_of(check_audio(audio, sample_rate_hz))
        problems: dict[Modality, str] = {}
        if wave is not None and "speech" in self.modalities and (problem := why_no_speech(wave)):
            wave, problems = None, {"speech": problem}
        evidence = collect(
            "prediction",
            faces=None if faces is None else check_faces(faces),
            wave=wave,
            text=None if text is None else check_text(text),
            settings=self.pretrained.settings,
            problems=problems,
        )
        return replace(self._answer(self._worded([evidence]), min_confidence)[0], id=None)

    def analyse(
        self,
        path: Path | str,
        transcript: Path | str | None = None,
        *,
        min_confidence: float = 0.0,
        progress: Progress | None = None,
    ) -> Timeline:
        """Who expresses what, when, in a recording.

        Args:
            path: video or sound; anything that FFmpeg's libraries decode.
            transcript: its words: .srt, .vtt, .json (with times) or .txt.
            min_confidence: segments below this confidence abstain; of a model of labels.
            progress: told ``(what, seconds done, seconds in all)`` now and then.

        Returns:
            `Timeline`; see `maeum.analysis.segments` for what becomes a segment. A recording that shows no face and in
            which nobody speaks has one segment, which abstains and says why.

        Raises:
            InputError: when an argument is of another type, or the confidence out of range.
            MediaError: when the file cannot be used at all.
            TranscriptError: when the transcript cannot be read.
        """
        for name, value in (("path", path), ("transcript", transcript)):
            if not isinstance(value, str | Path) and not (name == "transcript" and value is None):
                raise InputError(f"{type(value).__name__} is not a path", item=name, remedy="Give a str or a Path.")
        if progress is not None and not callable(progress):
            raise InputError(f"{type(progress).__name__} cannot be called", item="progress", remedy="Give a function.")
        self._check_confidence(min_confidence)
        tell = progress or _silent
        lines = read_transcript(transcript) if transcript is not None else []
        info = probe(path)
        heard = listen(info, tell)
        settings = self.pretrained.settings
        watched = watch(info, self._faces(), settings.frame_every_s, settings.margin_px, tell)
        if not watched.frames and not len(heard.samples):
            reasons = [note for note in (*watched.notes, heard.missing) if note]
            raise MediaError("; ".join(reasons), item=path, remedy="Copy or convert it again.")
        duration_s = info.duration_s or max(watched.end_s, len(heard.samples) / SAMPLE_RATE_HZ)
        voice, sound_notes = _voice(heard)
        no_face = _no_face(watched)
        if not voice:
            heard = replace(heard, missing=sound_notes[0])  # what is heard is no voice, whatever a transcript says
        planned = plan_segments(duration_s, lines, voice, [f.presence for f in watched.faces], settings.frame_every_s)
        planned, watched = _numbered(planned, watched)
        tell("emotions", 0.0, duration_s)
        segments = self._segments(planned.segments, watched, heard, min_confidence)
        if not segments:
            segments = [
                _nothing(duration_s, self._abstention(None), [*no_face, *sound_notes, *watched.notes], bool(lines))
            ]
        tell("emotions", duration_s, duration_s)
        return Timeline(
            source=str(path),
            duration_s=duration_s,
            segments=tuple(segments),
            tracks=tuple(f.track for f in watched.faces),
            labels=self.labels,
            model=self.card.name,
            notes=tuple(dict.fromkeys([*heard.notes, *sound_notes, *no_face, *watched.notes, *planned.notes])),
            scales=self.scales,
        )

    def _faces(self) -> FaceDetector:
        with self._lock:
            if self._detector is None:
                self._detector = FaceDetector()
            return self._detector

    def _segments(
        self, planned: Sequence[PlannedSegment], watched: RecordingFaces, heard: RecordingAudio, min_confidence: float
    ) -> list[Segment]:
        faces = {face.id: face for face in watched.faces}
        evidence = []
        for number, part in enumerate(planned, start=1):
            wave = None
            if part.has_voice and heard.missing is None:
                start, end = (round(t * SAMPLE_RATE_HZ) for t in (part.start_s, part.end_s))
                wave = wave_of(heard.samples[start:end])
            crops = torch.from_numpy(faces[part.face].between(part.start_s, part.end_s).copy()) if part.face else None
            evidence.append(
                collect(f"{number}", faces=crops, wave=wave, text=part.text, settings=self.pretrained.settings)
            )
        evidence = self._worded(evidence)
        answers = self._answer(evidence, min_confidence)
        return [
            Segment(part.start_s, part.end_s, answer, part.text or given.clip.text, part.face, part.speaker)
            for part, given, answer in zip(planned, evidence, answers, strict=True)
        ]

    def _worded(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """With the words that the model itself recognises where there is a voice and none were given."""
        model = transcriber(self.pretrained.model)
        if model is None or self.pretrained.tokenizer is None:
            return list(evidence)
        return [e if e.clip.text or "speech" not in e.clip.modalities else self._recognised(model, e) for e in evidence]

    def _recognised(self, model: TranscribesSpeech, evidence: Evidence) -> Evidence:
        with torch.inference_mode():
            said = model.transcribe(self._collate([evidence.clip]).to(self._device))[0]
        said = without_annotations(said).lower()
        if not any(letter.isalnum() for letter in said):
            return replace(evidence, notes=(*evidence.notes, "no words were given, and this model recognised none"))
        note = f'no words were given; this model recognised "{said}", which may be wrong'
        problems: dict[Modality, str] = {m: why for m, why in evidence.problems.items() if m != "text"}
        clip = replace(evidence.clip, text=said)
        return replace(evidence, clip=clip, problems=problems, notes=(*evidence.notes, note))

    def _answer(self, evidence: Sequence[Evidence], min_confidence: float) -> list[Prediction]:
        """A prediction for each, in their order."""
        evidence = [self._readable(e) for e in evidence]
        answers = {e.clip.id: self._abstention(e) for e in evidence if not e.clip.modalities}
        usable = [e for e in evidence if e.clip.modalities]
        for first in range(0, len(usable), _CLIPS_AT_ONCE):
            some = usable[first : first + _CLIPS_AT_ONCE]
            with torch.inference_mode():
                output = self.pretrained.model(self._collate([e.clip for e in some]).to(self._device))
                fused, own, shares = self.pretrained.probabilities(output)
            for i, e in enumerate(some):
                opinions = {
                    m: self._opinion(self._named(own[m][i]), float(shares[m][i]))
                    for m in MODALITIES
                    if m in own and m in e.clip.modalities
                }
                named = self._named(fused[i])
                if self.scales:
                    answers[e.clip.id] = self._values(named, opinions, e)
                else:
                    answers[e.clip.id] = self._prediction(named, opinions, e, min_confidence)
        return [answers[e.clip.id] for e in evidence]

    def _readable(self, evidence: Evidence) -> Evidence:
        """Without what the model does not read: a modality that it lacks, words that leave no token."""
        evidence = evidence.limited_to(self.modalities)
        text, tokenize = evidence.clip.text, self.pretrained.tokenizer
        if text is None or not text.strip():
            return evidence
        if tokenize is None or not tokenize([text])[0]:
            problem = "no words: nothing in the text can be read"
        elif tokenize.unread(text) > _MOST_UNREAD:
            problem = "no words: the text is in letters that this model does not read"
        else:
            return evidence
        problems: dict[Modality, str] = {**evidence.problems, "text": problem}
        return replace(evidence, clip=replace(evidence.clip, text=None), problems=problems)

    def _named(self, values: Tensor) -> dict[str, float]:
        """Probabilities or values by name; for single-label models they sum to 1 in double precision."""
        row = values.double().cpu()
        if self.pretrained.label_set.task == "single-label":
            row = row / row.sum()
        return dict(zip(self.labels, row.tolist(), strict=True))

    def _opinion(self, named: dict[str, float], share: float) -> ModalityOpinion:
        return ModalityOpinion({}, share, named) if self.scales else ModalityOpinion(named, share)

    def _values(
        self, values: dict[str, float], opinions: dict[Modality, ModalityOpinion], evidence: Evidence
    ) -> Prediction:
        """An answer on scales, with the intervals that dev items of the same modalities allow to give."""
        present = evidence.clip.modalities
        margins = self.pretrained.calibration.margins.get(subset_name(present), (None,) * len(values))
        intervals = {
            name: (max(low, values[name] - margin), min(high, values[name] + margin))
            for (name, (low, high)), margin in zip(self.scales.items(), margins, strict=True)
            if margin is not None
        }
        notes = [*evidence.notes, *evidence.explain()]
        if unmeasured := [name for name in values if name not in intervals]:
            sources = " and ".join(MODALITY_NAMES[m] for m in present)
            notes.append(f"how far off {', '.join(unmeasured)} from {sources} may be was not measured")
        return Prediction(
            probs={},
            label=None,
            confidence=0.0,
            modalities=opinions,
            notes=tuple(notes),
            id=evidence.clip.id,
            values=values,
            intervals=intervals,
        )

    def _abstention(self, evidence: Evidence | None) -> Prediction:
        reasons = evidence.explain() if evidence else ()
        return Prediction(
            probs={} if self.scales else dict.fromkeys(self.labels, 1 / len(self.labels)),
            label=None,
            confidence=0.0,
            reason="; ".join(reasons) or "nothing to go on",
            id=evidence.clip.id if evidence else None,
        )

    def _check_confidence(self, least: float) -> None:
        _check_share(least)
        if least and self.scales:
            raise InputError(
                "values on scales have no confidence",
                item="min_confidence",
                remedy="Leave it out; the intervals of the values say how sure they are.",
            )

    def _prediction(
        self, probs: dict[str, float], opinions: dict[Modality, ModalityOpinion], evidence: Evidence, least: float
    ) -> Prediction:
        label = max(probs, key=lambda name: probs[name])
        confidence = probs[label]
        reason = None
        if confidence < least:
            reason = f"not sure enough: {label} with {percent(confidence)}, below the asked {least:.0%}"
        return Prediction(
            probs=probs,
            label=None if reason else label,
            confidence=confidence,
            modalities=opinions,
            reason=reason,
            notes=(*evidence.notes, *evidence.explain()),
            id=evidence.clip.id,
            above=self._above(probs),
        )

    def _above(self, probs: dict[str, float]) -> tuple[str, ...] | None:
        """The labels above the thresholds of a multi-label model."""
        if self.pretrained.label_set.task != "multi-label":
            return None
        return tuple(name for name, least in self.pretrained.thresholds.items() if probs[name] > least)


def load(name_or_dir: str | Path | None = None, device: str = "cpu") -> Recognizer:
    """A recogniser.

    Args:
        name_or_dir: None for the model that ships; a folder written by ``maeum train``; or ``owner/name`` on the hub.
        device: where it runs, such as ``cpu`` or ``cuda``.

    Returns:
        The recogniser; the same one for the same model, as long as its folder does not change.

    Raises:
        InputError: when an argument is of another type.
        ModelError: when there is no such model, or it cannot be loaded or run there.
    """
    if not isinstance(name_or_dir, str | Path | None):
        raise InputError(f"{type(name_or_dir).__name__} is not the name or folder of a model", item="name_or_dir",
                         remedy="Give a str or a Path, or nothing for the model that ships.")  # fmt: skip
    if not isinstance(device, str):
        raise InputError(f"{type(device).__name__} is not the name of a device", item="device",
                         remedy="Give a str such as 'cpu' or 'cuda'.")  # fmt: skip
    check_device(device)
    folder = embedded_folder() if name_or_dir in (None, EMBEDDED) else Path(str(name_or_dir))
    changed = (
        tuple((f.name, f.stat().st_mtime_ns) for f in sorted(folder.iterdir()) if f.is_file())
        if folder.is_dir()
        else ()
    )
    return _loaded(name_or_dir if name_or_dir is None else str(name_or_dir), device, changed)


@lru_cache(maxsize=2)
def _loaded(name_or_dir: str | None, device: str, changed: tuple[tuple[str, int], ...]) -> Recognizer:
    return Recognizer(load_pretrained(name_or_dir, device))


def _numbered(planned: SegmentPlan, watched: RecordingFaces) -> tuple[SegmentPlan, RecordingFaces]:
    """The faces that are followed, numbered from 1 without gaps; the others are left out."""
    new = {old: number for number, old in enumerate(planned.faces, start=1)}
    faces = tuple(replace(f, id=new[f.id]) for f in watched.faces if f.id in new)
    segments = tuple(replace(s, face=new[s.face]) if s.face is not None else s for s in planned.segments)
    return replace(planned, segments=segments, faces=tuple(new.values())), replace(watched, faces=faces)


def _voice(heard: RecordingAudio) -> tuple[list[tuple[float, float]], list[str]]:
    """Stretches with a voice, and why there are none."""
    if heard.missing is not None:
        return [], [heard.missing]
    wave = wave_of(heard.samples)
    if loudest_dbfs(wave) < SILENCE_DBFS:
        return [], ["the sound is silent"]
    regions = [(float(a), float(b)) for a, b in speech_regions(wave)]
    return regions, [] if regions else [NO_VOICE]


def _no_face(watched: RecordingFaces) -> list[str]:
    """That no face was seen, where there was something to look at."""
    if watched.faces or not watched.frames:
        return []
    return [f"no face in {watched.frames} picture{'s' * (watched.frames != 1)}"]


def _nothing(duration_s: float, answer: Prediction, reasons: Sequence[str], transcript: bool) -> Segment:
    """The one segment of a recording in which nobody is seen or heard."""
    why = list(dict.fromkeys(reasons))
    if transcript:
        why.append("the transcript has no words")
    return Segment(0.0, duration_s, replace(answer, reason="; ".join(why), id="1"))


def _check_share(value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise InputError(
            f"{value!r} is not between 0 and 1", item="min_confidence", remedy="Give a probability such as 0.5."
        )


def _silent(what: str, done_s: float, all_s: float) -> None:
    """Progress that nobody asked for."""


__all__ = ["Recognizer", "TranscriptLine", "load"]
