"""Predictions of a model about every item of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from maeum.data.collate import Collator
from maeum.data.dataset import ClipDataset
from maeum.data.sampler import BucketSampler
from maeum.errors import EvaluationError
from maeum.evaluation.predictions import PredictionSet
from maeum.inputs.settings import InputSettings
from maeum.models.encoders.tokenizer import Tokenizer
from maeum.models.network import Network
from maeum.models.pretrained import Pretrained
from maeum.types import ModelOutput


def predict_items(
    model: Network,
    dataset: ClipDataset,
    collate: Collator,
    *,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    logits: Callable[[ModelOutput], Tensor] = lambda output: output.logits,
    features: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> PredictionSet:
    """Predictions in the dataset's order; every item is answered.

    Args:
        model: put in eval mode, and left as it was found.
        dataset: items with targets.
        collate: makes the batches.
        batch_size: items at once.
        device: where the model is.
        logits: takes the wanted logits out of an output, ``(batch, labels)``.
        features: keep the model's named features too, side by side in the order of their names; zeros where an item
            lacks one.
        on_batch: called with the number of items of each batch that is done.

    Raises:
        EvaluationError: when an item has no target.
    """
    targets = dataset.targets()
    if any(t is None for t in targets):
        unlabelled = next(i for i, t in enumerate(targets) if t is None)
        raise EvaluationError("an item has no label", item=dataset.ids[unlabelled])
    cost = [n.cost for n in dataset.lengths]
    item_logits: dict[int, Tensor] = {}
    made: dict[str, dict[int, Tensor]] = {}
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for indices in BucketSampler(cost, batch_size, shuffle=False).batches(0):
            output = model(collate([dataset[i] for i in indices]).to(device))
            item_logits.update(zip(indices, logits(output).float().cpu(), strict=True))
            if features:
                for name, values in output.features.items():
                    made.setdefault(name, {}).update(zip(indices, values.flatten(1).float().cpu(), strict=True))
            if on_batch is not None:
                on_batch(len(indices))
    model.train(was_training)
    return PredictionSet(
        ids=dataset.ids,
        logits=torch.stack([item_logits[i] for i in range(len(dataset))]),
        target=torch.stack([t for t in targets if t is not None]),
        groups=dataset.item_speakers(),
        features=_side_by_side(made, len(dataset)),
    )


def _side_by_side(made: Mapping[str, Mapping[int, Tensor]], items: int) -> Tensor | None:
    """Features by name and item as rows ``(items, d)``."""
    columns = []
    for name in sorted(made):
        empty = torch.zeros_like(next(iter(made[name].values())))
        columns.append(torch.stack([made[name].get(i, empty) for i in range(items)]))
    return torch.cat(columns, 1) if columns else None


def predict_pretrained(
    pretrained: Pretrained,
    dataset: ClipDataset,
    *,
    batch_size: int = 64,
    features: bool = False,
    collate: Collator | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> PredictionSet:
    """Calibrated predictions of a trained model, as logits (the inverse of `LabelSet.activate`).

    ``collate`` is the model's own, which knows what frozen encoders make of the items; see `predict_items`.
    """

    def calibrated(output: ModelOutput) -> Tensor:
        if pretrained.label_set.task == "dimensional":
            return output.logits
        probs = pretrained.probabilities(output)[0].double().clamp(1e-12, 1 - 1e-12)
        return probs.log() if pretrained.label_set.task == "single-label" else probs.logit()

    device = next(pretrained.model.parameters()).device
    return predict_items(
        pretrained.model,
        dataset,
        collate or collator(pretrained.tokenizer, pretrained.settings),
        batch_size=batch_size,
        device=device,
        logits=calibrated,
        features=features,
        on_batch=on_batch,
    )


def collator(
    tokenizer: Tokenizer | None,
    settings: InputSettings,
    encode_transcript: Callable[[str], list[int]] | None = None,
) -> Collator:
    """The collator for a model's tokenizer and input settings; encode_transcript: see `Collator`."""
    return Collator(
        tokenizer,
        0 if tokenizer is None else tokenizer.pad_id,
        settings.max_tokens,
        settings.max_frames,
        settings.max_mel_chunks,
        encode_transcript,
    )
