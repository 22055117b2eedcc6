"""A trained model in use: predictions of what it is given, and timelines of recordings."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maeum.analysis.predictions import Predictor
from maeum.analysis.recording import (
    Progress,
    RecordingAudio,
    RecordingFaces,
    find_recording_faces,
    read_recording_audio,
)
from maeum.analysis.segments import PlannedSegment, plan_segments
from maeum.analysis.words import (
    AUTO,
    RecognizedWords,
    choose_recognizer,
    recognize_words,
    why_no_words,
    with_words,
)
from maeum.asr import SpeechRecognizer
from maeum.devices import check_device
from maeum.errors import InputError, MediaError
from maeum.inputs.arguments import check_audio, check_faces, check_text
from maeum.inputs.clip import CheckedClip, make_clip
from maeum.media.faces import FaceDetector
from maeum.media.info import probe
from maeum.media.shapes import MEL_CHUNK_S
from maeum.media.text import TranscriptLine, read_noted_transcript
from maeum.models.card import ModelCard
from maeum.models.network import transcriber
from maeum.models.pretrained import EMBEDDED, Pretrained, embedded_folder, load_pretrained
from maeum.types import MODALITIES, Modality, Prediction, Segment, Timeline


class Recognizer:
    """Predicts which emotion faces, a voice and words express: with labels, or with values on scales.

    It holds no state between calls, so threads may share one. Equal input gives equal predictions.

    Args:
        pretrained: the trained model; see `load`.
    """

    def __init__(self, pretrained: Pretrained) -> None:
        self.pretrained = pretrained
        self.modalities: tuple[Modality, ...] = pretrained.model.modalities
        self._predictor = Predictor(pretrained)
        self._detector: FaceDetector | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Recognizer({self.pretrained.name!r}, labels={list(self.labels)}, modalities={list(self.modalities)})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels, or of its scales."""
        return self.pretrained.label_set.names

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each scale; empty for a model of labels."""
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
        min_confidence: float | None = None,
    ) -> Prediction:
        """What one utterance expresses. Any subset of faces, voice and words will do.

        Args:
            audio: sound, ``(samples,)`` or ``(channels, samples)``; floats at full scale 1.0, or integers.
            sample_rate_hz: its rate; needed with ``audio``.
            faces: pictures of one person's face in the order of time, each uint8 RGB ``(height, width, 3)`` of any
                size, about one every half second.
            text: the words that were spoken.
            min_confidence: below this confidence it abstains; of a model of labels. None is the model's own bound, 0
                always answers.

        Returns:
            `Prediction`. Where nothing given can be used (no voice, no face, no word), its label is None, ``reason``
            says why, and its probabilities are equal; of a model of scales there are no values then.

        Raises:
            InputError: when an argument is not what it should be; names the argument and what to do.
        """
        min_confidence = self._predictor.check_confidence(min_confidence)
        if audio is None and faces is None and text is None:
            raise InputError("nothing was given", item="predict", remedy="Give at least one of audio=, faces=, text=.")
        if audio is None and sample_rate_hz is not None:
            raise InputError("was given without audio", item="sample_rate_hz", remedy="Add audio=, or leave it out.")
        clip = self._clip(
            "prediction",
            faces=None if faces is None else check_faces(faces),
            wave=None if audio is None else torch.from_numpy(check_audio(audio, sample_rate_hz)),
            text=None if text is None else check_text(text),
            require_voice="speech" in self.modalities,
        )
        return replace(self._predict([clip], min_confidence)[0][1], id=None)

    def analyse(
        self,
        path: Path | str,
        transcript: Path | str | None = None,
        *,
        asr: str | SpeechRecognizer | None = AUTO,
        language: str | None = None,
        min_confidence: float | None = None,
        progress: Progress | None = None,
    ) -> Timeline:
        """Who expresses what, when, in a recording.

        Args:
            path: video or sound; anything that FFmpeg's libraries decode.
            transcript: its words: .srt, .vtt, .json (with times) or .txt.
            asr: what recognises the words where there is no transcript: a name (`maeum.asr`), a folder of Whisper's,
                ``auto`` (whisper-base, where it was fetched) or ``off``.
            language: ISO 639-1 code of the language that is spoken, such as ``en``; None finds it out.
            min_confidence: segments below this confidence abstain; see `predict`.
            progress: called with ``(what, seconds done, seconds in all)`` now and then.

        Returns:
            `Timeline`; see `maeum.analysis.segments` for what becomes a segment. A recording that shows no face and in
            which nobody speaks has one segment, which abstains and says why.

        Raises:
            InputError: when an argument is of another type, or the confidence out of range.
            MediaError: when the file cannot be used at all.
            TranscriptError: when the transcript cannot be read.
        """
        _check_paths(path, transcript)
        if progress is not None and not callable(progress):
            raise InputError(f"{type(progress).__name__} cannot be called", item="progress", remedy="Give a function.")
        min_confidence = self._predictor.check_confidence(min_confidence)
        report = progress or _no_progress
        lines, cut_off = read_noted_transcript(transcript) if transcript is not None else ([], ())
        listener = choose_recognizer(asr) if transcript is None else None
        info = probe(path)
        every_s = self.pretrained.settings.frame_every_s
        audio = read_recording_audio(info, report)
        spoken = RecognizedWords()
        if transcript is None and audio.voice:
            if listener is not None:
                spoken = recognize_words(audio, listener, language, report)
            elif transcriber(self.pretrained.model) is None:
                spoken = RecognizedWords(notes=why_no_words(asr))
            lines = list(spoken.lines)
        faces = find_recording_faces(info, self._face_detector(), every_s, report)
        if not faces.frames and not len(audio.samples):
            reasons = [note for note in (*faces.notes, audio.missing_reason) if note]
            raise MediaError("; ".join(reasons), item=path, remedy="Copy or convert it again.")
        duration_s = info.duration_s or max(faces.end_s, audio.duration_s)
        plan = plan_segments(duration_s, lines, audio.voice, [f.presence for f in faces.faces], every_s)
        faces, new_ids = faces.numbered(plan.faces)
        planned = [s if s.face is None else replace(s, face=new_ids[s.face]) for s in plan.segments]
        missing = [reason for reason in (audio.missing_reason, faces.missing_reason) if reason is not None]
        report("emotions", 0.0, duration_s)
        segments = self._segments(planned, faces, audio, min_confidence) or [
            self._nobody(duration_s, [*reversed(missing), *faces.notes], with_transcript=bool(lines))
        ]
        report("emotions", duration_s, duration_s)
        return Timeline(
            source=str(path),
            duration_s=duration_s,
            segments=tuple(with_words(segments, spoken.words)),
            tracks=tuple(f.track for f in faces.faces),
            labels=self.labels,
            model=self.card.name,
            notes=tuple(dict.fromkeys([*audio.notes, *missing, *faces.notes, *cut_off, *spoken.notes, *plan.notes])),
            scales=self.scales,
            recognizer=spoken.recognizer,
            language=spoken.language,
        )

    def _segments(
        self,
        planned: Sequence[PlannedSegment],
        faces: RecordingFaces,
        audio: RecordingAudio,
        min_confidence: float | None,
    ) -> list[Segment]:
        """The planned segments with their predictions."""
        by_id = {face.id: face for face in faces.faces}
        clips = [
            self._clip(
                f"{number}",
                faces=by_id[part.face].between(part.start_s, part.end_s) if part.face else None,
                wave=audio.between(part.start_s, part.end_s) if part.has_voice else None,
                text=part.text,
            )
            for number, part in enumerate(planned, start=1)
        ]
        return [
            Segment(part.start_s, part.end_s, prediction, part.text or checked.clip.text, part.face, part.speaker)
            for part, (checked, prediction) in zip(planned, self._predict(clips, min_confidence), strict=True)
        ]

    def _clip(
        self, id: str, *, faces: Tensor | None, wave: Tensor | None, text: str | None, require_voice: bool = False
    ) -> CheckedClip:
        settings = self.pretrained.settings
        return make_clip(
            id,
            settings,
            faces=faces,
            wave=wave,
            text=text,
            sounds=(settings.sound,),
            require_voice=require_voice,
            longest_s=settings.max_mel_chunks * MEL_CHUNK_S,
        )

    def _predict(
        self, clips: Sequence[CheckedClip], min_confidence: float | None
    ) -> list[tuple[CheckedClip, Prediction]]:
        """Each clip, with the words that the model recognised, and its prediction."""
        clips = self._predictor.with_recognised_words(clips)
        return list(zip(clips, self._predictor.predict(clips, self.modalities, min_confidence), strict=True))

    def _nobody(self, duration_s: float, reasons: Sequence[str], *, with_transcript: bool) -> Segment:
        """The one segment of a recording that shows no face and in which nobody speaks."""
        reasons = list(dict.fromkeys([*reasons, *["the transcript has no words"] * with_transcript]))
        prediction = replace(self._predictor.abstain(None), reason="; ".join(reasons), id="1")
        return Segment(0.0, duration_s, prediction)

    def _face_detector(self) -> FaceDetector:
        with self._lock:
            if self._detector is None:
                self._detector = FaceDetector()
            return self._detector


def load(
    name_or_dir: str | Path | None = None, device: str = "cpu", modalities: Sequence[Modality] | None = None
) -> Recognizer:
    """A recogniser.

    Args:
        name_or_dir: None for the model that ships; a folder written by ``maeum train``; or ``owner/name`` on the hub.
        device: where it runs, such as ``cpu`` or ``cuda``.
        modalities: the branches that are wanted, such as ``["text"]``: the others' weights are not taken, and only the
            licences of these bind (`ModelCard.branches`). None is all.

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
    if modalities is not None and (isinstance(modalities, str) or any(m not in MODALITIES for m in modalities)):
        raise InputError(f"{modalities!r} is no list of modalities", item="modalities",
                         remedy=f"Give some of {', '.join(MODALITIES)}, such as ['text'].")  # fmt: skip
    check_device(device)
    folder = embedded_folder() if name_or_dir in (None, EMBEDDED) else Path(str(name_or_dir))
    changed = (
        tuple((f.name, f.stat().st_mtime_ns) for f in sorted(folder.iterdir()) if f.is_file())
        if folder.is_dir()
        else ()
    )
    wanted = None if modalities is None else tuple(m for m in MODALITIES if m in modalities)
    return _loaded(name_or_dir if name_or_dir is None else str(name_or_dir), device, wanted, changed)


@lru_cache(maxsize=2)
def _loaded(
    name_or_dir: str | None,
    device: str,
    modalities: tuple[Modality, ...] | None,
    changed: tuple[tuple[str, int], ...],
) -> Recognizer:
    return Recognizer(load_pretrained(name_or_dir, device, modalities))


def _check_paths(path: object, transcript: object) -> None:
    """Raise InputError unless these are paths; a transcript may be None."""
    for name, value in (("path", path), ("transcript", transcript)):
        if not isinstance(value, str | Path) and not (name == "transcript" and value is None):
            raise InputError(f"{type(value).__name__} is not a path", item=name, remedy="Give a str or a Path.")


def _no_progress(what: str, done_s: float, all_s: float) -> None:
    """Progress that is not shown."""


__all__ = ["Recognizer", "TranscriptLine", "load"]
