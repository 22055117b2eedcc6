"""JSON: everything that a timeline holds, for programs, and the timeline back from it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from maeum import __version__
from maeum.analysis.writers.base import WRITERS, Writer
from maeum.errors import ConfigError
from maeum.models.card import ModelCard
from maeum.types import MODALITIES, FaceTrack, ModalityOpinion, Prediction, Segment, Timeline, Word

#: Name and version of the layout. The version grows when a reader of the older one would go wrong.
SCHEMA = "maeum.timeline/1"


def render_json(timeline: Timeline, card: ModelCard | None) -> str:
    """What `to_dict` makes, indented."""
    return json.dumps(to_dict(timeline, card), indent=2, ensure_ascii=False) + "\n"


def to_dict(timeline: Timeline, card: ModelCard | None = None) -> dict[str, Any]:
    """A timeline as numbers, texts, lists and mappings, as JSON has them; portraits are PNG in base64."""
    return {
        "schema": SCHEMA,
        "maeum": __version__,
        "source": timeline.source,
        "duration_s": timeline.duration_s,
        "labels": list(timeline.labels),
        "scales": {name: list(ends) for name, ends in timeline.scales.items()},
        "model": timeline.model,
        "model_card": card.model_dump(mode="json") if card else None,
        "recognizer": timeline.recognizer or None,
        "language": timeline.language or None,
        "notes": list(timeline.notes),
        "segments": [_segment(s) for s in timeline.segments],
        "tracks": [
            {
                "id": track.id,
                "boxes": [
                    dict(zip(("time_s", "left", "top", "right", "bottom"), (round(v, 3) for v in box), strict=True))
                    for box in track.boxes
                ],
                "thumbnail_png": base64.b64encode(track.thumbnail_png).decode() if track.thumbnail_png else None,
            }
            for track in timeline.tracks
        ],
    }


def from_dict(data: Mapping[str, Any]) -> Timeline:
    """The timeline that `to_dict` was given.

    Raises:
        ConfigError: when the data are of another layout.
    """
    if data.get("schema") != SCHEMA:
        raise ConfigError(
            f"the layout is {data.get('schema')!r}, not {SCHEMA!r}", remedy="Read it with the maeum that wrote it."
        )
    return Timeline(
        source=data["source"],
        duration_s=data["duration_s"],
        segments=tuple(_read_segment(s) for s in data["segments"]),
        tracks=tuple(
            FaceTrack(
                t["id"],
                tuple((b["time_s"], b["left"], b["top"], b["right"], b["bottom"]) for b in t["boxes"]),
                base64.b64decode(t["thumbnail_png"]) if t["thumbnail_png"] else None,
            )
            for t in data["tracks"]
        ),
        labels=tuple(data["labels"]),
        scales=_pairs(data.get("scales", {})),
        model=data["model"],
        notes=tuple(data["notes"]),
        recognizer=data.get("recognizer") or "",
        language=data.get("language") or "",
    )


def _segment(segment: Segment) -> dict[str, Any]:
    prediction = segment.prediction
    return {
        "start_s": round(segment.start_s, 3),
        "end_s": round(segment.end_s, 3),
        "text": segment.text,
        "words": [
            {
                "text": word.text,
                "start_s": round(word.start_s, 3),
                "end_s": round(word.end_s, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in segment.words
        ],
        "face": segment.face,
        "speaker": segment.speaker,
        "prediction": {
            "id": prediction.id,
            "label": prediction.label,
            "confidence": prediction.confidence,
            "reason": prediction.reason,
            "notes": list(prediction.notes),
            "probs": dict(prediction.probs),
            "above": None if prediction.above is None else list(prediction.above),
            "values": dict(prediction.values),
            "intervals": {name: list(ends) for name, ends in prediction.intervals.items()},
            "prediction_set": None if prediction.prediction_set is None else list(prediction.prediction_set),
            "modalities": {
                m: {"label": o.label, "share": o.share, "probs": dict(o.probs), "values": dict(o.values)}
                for m, o in prediction.modalities.items()
            },
        },
    }


def _read_segment(data: Mapping[str, Any]) -> Segment:
    stored = data["prediction"]
    opinions = stored["modalities"]
    prediction = Prediction(
        probs=stored["probs"],
        label=stored["label"],
        confidence=stored["confidence"],
        modalities={
            m: ModalityOpinion(o["probs"], o["share"], o.get("values", {}))
            for m in MODALITIES
            if (o := opinions.get(m)) is not None
        },
        reason=stored["reason"],
        notes=tuple(stored["notes"]),
        id=stored["id"],
        above=None if stored.get("above") is None else tuple(stored["above"]),
        values=stored.get("values", {}),
        intervals=_pairs(stored.get("intervals", {})),
        prediction_set=None if stored.get("prediction_set") is None else tuple(stored["prediction_set"]),
    )
    words = tuple(Word(w["text"], w["start_s"], w["end_s"], w["confidence"]) for w in data.get("words", ()))
    return Segment(data["start_s"], data["end_s"], prediction, data["text"], data["face"], data["speaker"], words)


def _pairs(data: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {name: (low, high) for name, (low, high) in data.items()}


WRITERS.register("json")(Writer(".json", "everything, for programs", render_json))
