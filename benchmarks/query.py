"""Does the query of a MESM, its clip's words, move what is selected, and does the answer depend on it?

    python benchmarks/query.py --runs runs/mesm/collage-minilm/mesm --store stores/collage [--top-p 0.3] [--draws 5]

Each model of a study's folder (``seed-<n>/model``) answers about the dev items of the store: with each clip's own words
as the query, with the words of another clip in their place, of another label, and with the learned query of clips
without words. The words' own branch always reads the clip's own words: only where faces and voices look differs.
Printed for each block: the share of the kept positions that both queries keep (1: the query moves nothing; in brackets
what two random selections of that size share), and macro F1 with each query, over the seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from maeum.data.dataset import StoreDataset
from maeum.errors import MaeumError, ModelError
from maeum.evaluation.base import METRICS
from maeum.models.mesm import MESM
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.runs.predict import collator
from maeum.types import Batch, Modality

BATCH = 50


def answers(model: MESM, batch: Batch, query: Tensor | None) -> tuple[Tensor, dict[Modality, list[Tensor]]]:
    """Logits, and what each block selects.

    Args:
        model: in eval mode.
        batch: the clips.
        query: the summary of the words that stands in the place of each clip's own, ``(batch, width)``; of a row of
            NaN the learned query does. None is the clips' own.
    """
    own = model.attention_query

    def replaced_query(
        modality: Modality, features: Mapping[str, Tensor], present: Mapping[Modality, Tensor], mask: Tensor
    ) -> Tensor:
        if query is not None:
            features, present = {**features, "text": query.nan_to_num()}, {**present, "text": ~query.isnan().any(1)}
        return own(modality, features, present, mask)

    model.attention_query = replaced_query  # type: ignore[method-assign]
    try:
        with torch.inference_mode():
            output = model(batch)
    finally:
        del model.attention_query
    places: dict[Modality, list[Tensor]] = {m: list(model.selected(output, m)) for m in ("faces", "speech")}
    return output.logits, places


def shared(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Of maps ``(n, h, w)`` bool: the share of kept positions that both keep, and what chance would share, ``(n,)``."""
    both, kept = (one & other).flatten(1).sum(1), one.flatten(1).sum(1)
    others = other.flatten(1).float().mean(1)
    return both / kept.clamp(min=1), others


def measure(pretrained: Pretrained, items: StoreDataset, draws: int) -> dict[str, list[float]]:
    """Name of a figure -> its values, one for each draw."""
    model = pretrained.model
    if not isinstance(model, MESM) or "text" not in model.encoders:
        raise ModelError("is no MESM that reads words", item=pretrained.name)
    model.eval()
    collate = collator(pretrained.tokenizer, pretrained.settings)
    starts = range(0, len(items), BATCH)
    batches = [collate([items[i] for i in range(s, min(s + BATCH, len(items)))]) for s in starts]
    with torch.inference_mode():
        words = torch.cat([model(batch).features["text"] for batch in batches])
    target = torch.stack([t for t in items.targets() if t is not None])
    found: dict[str, list[float]] = defaultdict(list)

    def score(name: str, logits: list[Tensor]) -> None:
        probabilities = torch.cat(logits).softmax(1).double().numpy()
        found[f"macro F1, {name}"].append(float(METRICS["macro_f1"].function(probabilities, target.numpy(), "exclude")))

    own = [answers(model, batch, None) for batch in batches]
    score("its own words", [logits for logits, _ in own])
    for draw in range(draws):
        generator = torch.Generator().manual_seed(draw)
        another = [
            int(others[torch.randint(len(others), (), generator=generator)])
            for label in target
            for others in [(target != label).nonzero().flatten()]
        ]
        for name, query in (
            ("words of another label", words[another]),
            ("no words", torch.full_like(words, torch.nan)),
        ):
            if name == "no words" and draw:
                continue
            moved = [answers(model, b, query[s : s + len(b)]) for s, b in zip(starts, batches, strict=True)]
            score(name, [logits for logits, _ in moved])
            for modality in ("faces", "speech"):
                for block in range(len(own[0][1][modality])):
                    pairs = [shared(a[modality][block], b[modality][block])
                             for (_, a), (_, b) in zip(own, moved, strict=True)]  # fmt: skip
                    title = f"{modality}, block {block + 1}, {name}"
                    found[f"kept by both: {title}"].append(torch.cat([p for p, _ in pairs]).mean().item())
                    found[f"kept by both: {title}, by chance"].append(torch.cat([c for _, c in pairs]).mean().item())
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line says."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=Path, required=True)
    options.add_argument("--store", type=Path, required=True)
    options.add_argument("--top-p", type=float)
    options.add_argument("--draws", type=int, default=5)
    given = options.parse_args(arguments)
    folders = sorted(given.runs.glob("seed-*/model"))
    if not folders:
        sys.exit(f"{given.runs}: holds no seed-*/model")
    every: dict[str, list[Any]] = defaultdict(list)
    for folder in folders:
        pretrained = load_pretrained(folder)
        if given.top_p is not None:
            pretrained.model.top_p = given.top_p
        items = StoreDataset(given.store, "dev", pretrained.label_set, pretrained.model.modalities, labelled=True)
        for name, values in measure(pretrained, items, given.draws).items():
            every[name].append(mean(values))
    for name, values in every.items():
        if not name.endswith("by chance"):
            chance = every.get(f"{name}, by chance")
            beside = "" if chance is None else f" ({mean(chance):.3f})"
            print(f"{name}: {mean(values):.3f}{beside}   " + " ".join(f"{value:.3f}" for value in values))


if __name__ == "__main__":
    try:
        main()
    except MaeumError as error:
        sys.exit(str(error))
