"""From the clips of utterances to predictions: the network's outputs, calibrated, or the reason for an abstention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from maeum.analysis.formatting import MODALITY_NAMES, format_percent
from maeum.data.collate import Collator
from maeum.errors import InputError
from maeum.evaluation.conformal import prediction_sets
from maeum.inputs.clip import CheckedClip
from maeum.models.calibration import subset_name
from maeum.models.encoders.character_vocabulary import without_annotations
from maeum.models.network import TranscribesSpeech, transcriber
from maeum.models.pretrained import Pretrained
from maeum.types import MODALITIES, Modality, ModalityOpinion, Prediction

_CLIPS_AT_ONCE = 8
#: A text with a larger share of letters that the model does not know is not read.
_MOST_UNREAD = 0.5


class Predictor:
    """Predicts clips with a trained model; holds no state between calls."""

    def __init__(self, pretrained: Pretrained) -> None:
        self.pretrained = pretrained
        pretrained.model.eval()
        self.labels, self.scales = pretrained.label_set.names, pretrained.label_set.scales
        settings, tokenizer = pretrained.settings, pretrained.tokenizer
        self._collate = Collator(
            tokenizer,
            pad_id=tokenizer.pad_id if tokenizer else 0,
            max_tokens=settings.max_tokens,
            max_frames=settings.max_frames,
            max_mel_chunks=settings.max_mel_chunks,
        )
        self._device = next((p.device for p in pretrained.model.parameters()), torch.device("cpu"))

    def with_recognised_words(self, clips: Sequence[CheckedClip]) -> list[CheckedClip]:
        """The clips, with the words that the model itself recognises in speech where none were given."""
        model = transcriber(self.pretrained.model)
        if model is None or self.pretrained.tokenizer is None:
            return list(clips)
        return [c if c.clip.text or "speech" not in c.clip.modalities else self._recognise(model, c) for c in clips]

    def _recognise(self, model: TranscribesSpeech, checked: CheckedClip) -> CheckedClip:
        with torch.inference_mode():
            recognised = model.transcribe(self._collate([checked.clip]).to(self._device))[0]
        recognised = without_annotations(recognised).lower()
        if not any(letter.isalnum() for letter in recognised):
            return replace(checked, notes=(*checked.notes, "no words were given, and this model recognised none"))
        note = f'no words were given; this model recognised "{recognised}", which may be wrong'
        return replace(
            checked,
            clip=replace(checked.clip, text=recognised),
            missing={m: reason for m, reason in checked.missing.items() if m != "text"},
            notes=(*checked.notes, note),
        )

    def predict(
        self, clips: Sequence[CheckedClip], readable: Iterable[Modality], min_confidence: float | None
    ) -> list[Prediction]:
        """A prediction for each clip, in their order.

        Args:
            clips: with distinct ids.
            readable: the modalities that the model reads.
            min_confidence: below this confidence it abstains; None is the model's own bound.
        """
        clips = [self._without_unreadable_text(checked.limited_to(readable)) for checked in clips]
        predictions = {c.clip.id: self.abstain(c) for c in clips if not c.clip.modalities}
        usable = [c for c in clips if c.clip.modalities]
        for first in range(0, len(usable), _CLIPS_AT_ONCE):
            some = usable[first : first + _CLIPS_AT_ONCE]
            with torch.inference_mode():
                output = self.pretrained.model(self._collate([c.clip for c in some]).to(self._device))
                fused, own, shares = self.pretrained.probabilities(output)
            for i, checked in enumerate(some):
                opinions = {
                    m: self._opinion(self._by_name(own[m][i]), float(shares[m][i]))
                    for m in MODALITIES
                    if m in own and m in checked.clip.modalities
                }
                values = self._by_name(fused[i])
                if self.scales:
                    predictions[checked.clip.id] = self._values(values, opinions, checked)
                else:
                    predictions[checked.clip.id] = self._probabilities(values, opinions, checked, min_confidence)
        return [predictions[c.clip.id] for c in clips]

    def abstain(self, checked: CheckedClip | None) -> Prediction:
        """No answer, and the reason."""
        reasons = checked.reasons if checked else ()
        return Prediction(
            probs={} if self.scales else dict.fromkeys(self.labels, 1 / len(self.labels)),
            label=None,
            confidence=0.0,
            reason="; ".join(reasons) or "nothing to go on",
            id=checked.clip.id if checked else None,
        )

    def check_confidence(self, least: object) -> float | None:
        """The lowest confidence of an answer; raises InputError where it is no probability, or the model has none.

        None, the model's own bound, stays None.
        """
        if least is None:
            return None
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0.0 <= least <= 1.0:
            raise InputError(
                f"{least!r} is not between 0 and 1", item="min_confidence", remedy="Give a probability such as 0.5."
            )
        if least and self.scales:
            raise InputError(
                "values on scales have no confidence",
                item="min_confidence",
                remedy="Leave it out; the intervals of the values say how sure they are.",
            )
        return least

    def _without_unreadable_text(self, checked: CheckedClip) -> CheckedClip:
        """Without words that leave no token, or of which the tokenizer knows too little."""
        text, tokenize = checked.clip.text, self.pretrained.tokenizer
        if text is None or not text.strip():
            return checked
        if tokenize is None or not tokenize([text])[0]:
            return checked.without({"text": "no words: nothing in the text can be read"})
        if tokenize.unread(text) > _MOST_UNREAD:
            return checked.without({"text": "no words: the text is in letters that this model does not read"})
        return checked

    def _by_name(self, values: Tensor) -> dict[str, float]:
        """Probabilities or values by name; for single-label models they sum to 1 in double precision."""
        row = values.double().cpu()
        if self.pretrained.label_set.task == "single-label":
            row = row / row.sum()
        return dict(zip(self.labels, row.tolist(), strict=True))

    def _opinion(self, values: dict[str, float], share: float) -> ModalityOpinion:
        return ModalityOpinion({}, share, values) if self.scales else ModalityOpinion(values, share)

    def _values(
        self, values: dict[str, float], opinions: Mapping[Modality, ModalityOpinion], checked: CheckedClip
    ) -> Prediction:
        """An answer on scales, with the intervals that were measured on dev items of the same modalities."""
        present = checked.clip.modalities
        margins = self.pretrained.calibration.margins.get(subset_name(present), (None,) * len(values))
        intervals = {
            name: (max(low, values[name] - margin), min(high, values[name] + margin))
            for (name, (low, high)), margin in zip(self.scales.items(), margins, strict=True)
            if margin is not None
        }
        notes = [*checked.notes, *checked.reasons]
        if unmeasured := [name for name in values if name not in intervals]:
            sources = " and ".join(MODALITY_NAMES[m] for m in present)
            notes.append(f"how far off {', '.join(unmeasured)} from {sources} may be was not measured")
        return Prediction(
            probs={},
            label=None,
            confidence=0.0,
            modalities=opinions,
            notes=tuple(notes),
            id=checked.clip.id,
            values=values,
            intervals=intervals,
        )

    def _probabilities(
        self,
        probs: dict[str, float],
        opinions: Mapping[Modality, ModalityOpinion],
        checked: CheckedClip,
        min_confidence: float | None,
    ) -> Prediction:
        """An answer with labels; none below the lowest confidence, or where its prediction set has several."""
        ranked = sorted(probs, key=lambda name: -probs[name])
        calibration = self.pretrained.calibration
        chosen, notes = self._prediction_set(ranked, probs, checked)
        undecided: Sequence[str] = ()
        if chosen is not None and min_confidence is None:
            undecided = chosen if len(chosen) > 1 else ()
        elif probs[ranked[0]] < (calibration.least_confidence if min_confidence is None else min_confidence):
            undecided = ranked[:2]
        reason = "not sure: " + " or ".join(f"{name} {format_percent(probs[name])}" for name in undecided)
        return Prediction(
            probs=probs,
            label=None if undecided else ranked[0],
            confidence=probs[ranked[0]],
            modalities=opinions,
            reason=reason if undecided else None,
            notes=(*checked.notes, *checked.reasons, *notes),
            id=checked.clip.id,
            above=self._above_thresholds(probs),
            prediction_set=chosen,
        )

    def _prediction_set(
        self, ranked: Sequence[str], probs: Mapping[str, float], checked: CheckedClip
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """The labels in the set of a clip, likeliest first, and notes; None where no coverage was fitted for it."""
        coverage = self.pretrained.calibration.coverage
        if coverage is None:
            return None, ()
        present = checked.clip.modalities
        threshold = coverage.thresholds.get(subset_name(present))
        if threshold is None:
            sources = " and ".join(MODALITY_NAMES[m] for m in present)
            return None, (f"the coverage of {coverage.percent} was not fitted for {sources}",)
        inside = prediction_sets([[probs[name] for name in ranked]], threshold)[0]
        return tuple(name for name, included in zip(ranked, inside, strict=True) if included), ()

    def _above_thresholds(self, probs: Mapping[str, float]) -> tuple[str, ...] | None:
        """The labels above the thresholds of a multi-label model."""
        if self.pretrained.label_set.task != "multi-label":
            return None
        return tuple(name for name, least in self.pretrained.thresholds.items() if probs[name] > least)
