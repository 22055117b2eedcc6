"""A speech branch on people whom it never met: each speaker left out in turn, and each corpus.

    python benchmarks/voice_folds.py recipes/embedded/voice.yaml [--copies 6] [--out folds.json] [--cache vectors.pt]

The recipe's encoder is frozen, so its vectors are computed once for each training item as recorded, for ``--copies``
variations of it (the recipe's ``augment.wave``), and for the conditions that are scored: white noise at 10 and 20 dB,
the band of a telephone. What is behind the encoder is trained anew for each fold as the recipe says (epochs, learning
rate, weight decay, smoothing, class weights), each item in another variation in every epoch. Every answer is about a
speaker whom the head was not trained on. Corpora are left out as wholes too: the temperature is fitted on speakers of
the training corpus, and the calibration error is that on the other corpus.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maeum.data.augment_wave import TELEPHONE_HZ, augment_wave, in_band
from maeum.data.collate import Collator
from maeum.data.dataset import StoreDataset
from maeum.data.shards import digest
from maeum.evaluation.calibration import expected_calibration_error, fit_temperature
from maeum.models.branches import BranchNetwork
from maeum.models.encoders.pretrained_speech import PretrainedSpeech, Standardise
from maeum.models.networks import MODELS
from maeum.models.pretrained import weights_digest
from maeum.runs.recipe import Recipe
from maeum.types import Clip

_BATCH = 16


def cached(path: Path | None, made_of: str) -> dict[str, Tensor]:
    """The vectors in a file; none where it is not there, or is of other items, variations or another encoder."""
    stored = torch.load(path) if path is not None and path.is_file() else {}
    vectors: dict[str, Tensor] = stored["vectors"] if stored.get("made_of") == made_of else {}
    return vectors


def white_noise(snr_db: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """A function that adds white noise so much softer than the utterance."""

    def add(wave: Tensor, generator: torch.Generator) -> Tensor:
        level = wave.square().mean().sqrt() * 10 ** (-snr_db / 20)
        return wave + level * torch.randn(len(wave), generator=generator)

    return add


class Folds:
    """Vectors of every training item of a recipe, and heads trained on some of them.

    Args:
        recipe: of a speech branch alone.
        copies: variations of each item.
        cache: a file that keeps the vectors, of the same items, encoder and variations alone.
    """

    def __init__(self, recipe: Recipe, copies: int, cache: Path | None) -> None:
        self.recipe = recipe
        self.sets = [StoreDataset(d.store, "train", sound="wave", modalities=["speech"], labelled=True)
                     for d in recipe.train]  # fmt: skip
        self.label_set = self.sets[0].label_set
        self.sets[1:] = [StoreDataset(d.store, "train", self.label_set, sound="wave", modalities=["speech"],
                                      labelled=True) for d in recipe.train[1:]]  # fmt: skip
        self.target = torch.stack([t for items in self.sets for t in items.targets() if t is not None])
        self.corpus = [str(items.store.manifest["name"]) for items in self.sets for _ in range(len(items))]
        speakers = [str(name) for items in self.sets for name in items.item_speakers()]
        self.speaker = [f"{corpus} {name}" for corpus, name in zip(self.corpus, speakers, strict=True)]
        network = MODELS[recipe.model].build({**recipe.network, "labels": len(self.label_set)})
        assert isinstance(network, BranchNetwork)
        self.network = network.eval()
        self.vectors = self._vectors(copies, cache)

    def _vectors(self, copies: int, cache: Path | None) -> dict[str, Tensor]:
        """Name of a variation or condition -> ``(items, width)``."""
        wave = self.recipe.augment.wave
        ways: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
            "as recorded": lambda wave, generator: wave,
            "white noise, 10 dB": white_noise(10.0),
            "white noise, 20 dB": white_noise(20.0),
            "telephone": lambda wave, generator: in_band(wave, *TELEPHONE_HZ),
        }
        if wave is not None:
            ways |= {f"copy {i}": lambda given, generator: augment_wave(given, wave, generator) for i in range(copies)}
        made_of = self._made_of()
        known = cached(cache, made_of)
        for number, (name, way) in enumerate(ways.items()):
            if name not in known:
                known[name] = self._encode(way, number)
                if cache is not None:
                    torch.save({"made_of": made_of, "vectors": known}, cache)
                print(f"encoded: {name}", flush=True)
        return {name: known[name].float() for name in ways}

    def _made_of(self) -> str:
        """A hash of the encoder, of the variations and of the items."""
        encoder, wave = self.network.encoders["speech"], self.recipe.augment.wave
        assert isinstance(encoder, PretrainedSpeech)
        settings = [encoder.config, self.recipe.inputs, *([] if wave is None else [wave])]
        rows = [[row["id"], row["content"]] for items in self.sets for row in items.rows]
        return digest(weights_digest(encoder), [one.model_dump(mode="json") for one in settings], rows)

    @torch.inference_mode()
    def _encode(self, way: Callable[[Tensor, torch.Generator], Tensor], number: int) -> Tensor:
        encoder = self.network.encoders["speech"]
        assert isinstance(encoder, PretrainedSpeech)
        collate = Collator(None, 0, 1, 1, self.recipe.inputs.max_mel_chunks)
        clips = [(items, i) for items in self.sets for i in range(len(items))]
        order = sorted(range(len(clips)), key=lambda j: clips[j][0].lengths[clips[j][1]].mel_chunks)
        rows: dict[int, Tensor] = {}
        for first in range(0, len(order), _BATCH):
            some = order[first : first + _BATCH]
            batch = collate([self._changed(clips[j][0][clips[j][1]], way, 1000 * number + j) for j in some])
            with torch.autocast("cpu", torch.bfloat16):
                found = encoder(batch)
            assert found is not None
            rows.update(zip(some, found[0].half(), strict=True))
        return torch.stack([rows[j] for j in range(len(clips))])

    @staticmethod
    def _changed(clip: Clip, way: Callable[[Tensor, torch.Generator], Tensor], seed: int) -> Clip:
        assert clip.wave is not None
        return Clip(id=clip.id, wave=way(clip.wave, torch.Generator().manual_seed(seed)))

    def train(self, items: Sequence[int], seed: int = 0) -> Callable[[str, Sequence[int]], Tensor]:
        """Train a head on some items. Gives a function: condition, items -> logits ``(items, labels)``."""
        settings = self.recipe.training
        torch.manual_seed(seed)
        fresh = MODELS[self.recipe.model].build({**self.recipe.network, "labels": len(self.label_set)})
        assert isinstance(fresh, BranchNetwork)
        head = nn.Sequential(fresh.sequences["speech"], fresh.heads["speech"])
        copies = [name for name in self.vectors if name.startswith("copy ")] or ["as recorded"]
        everything = torch.stack([self.vectors[name][list(items)] for name in ("as recorded", *copies)])
        for module in head.modules():
            if isinstance(module, Standardise):  # by all that it is trained on, from the beginning
                module.learn(everything.flatten(0, 1))
        target = self.target[list(items)]
        counts = torch.bincount(target, minlength=len(self.label_set)).clamp(min=1)
        weights = (len(target) / (len(self.label_set) * counts)) if settings.class_weights else None
        steps = settings.epochs * -(-len(items) // settings.batch_size)
        optimizer = torch.optim.AdamW(head.parameters(), settings.lr, weight_decay=settings.weight_decay)
        warmup = settings.warmup if settings.warmup else 0.01
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps + 1, pct_start=warmup)
        head.train()
        for _ in range(settings.epochs):
            for some in torch.randperm(len(items)).split(settings.batch_size):
                loss = F.cross_entropy(
                    head(everything[torch.randint(len(everything), (len(some),)), some]), target[some],
                    weight=weights, label_smoothing=settings.label_smoothing,
                )  # fmt: skip
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        head.eval()

        def answer(condition: str, items: Sequence[int]) -> Tensor:
            with torch.inference_mode():
                logits: Tensor = head(self.vectors[condition][list(items)])
            return logits.clone()

        return answer

    def of(self, keep: Callable[[int], bool]) -> list[int]:
        """The items that a condition holds for."""
        return [i for i in range(len(self.target)) if keep(i)]

    def left_out(self, groups: Iterable[set[str]], conditions: Sequence[str]) -> dict[str, Tensor]:
        """Logits of every item by a head that was not trained on its group of speakers."""
        logits = {name: torch.zeros(len(self.target), len(self.label_set)) for name in conditions}
        for group in groups:
            answer = self.train(self.of(lambda i, group=group: self.speaker[i] not in group))  # type: ignore[misc]
            test = self.of(lambda i, group=group: self.speaker[i] in group)  # type: ignore[misc]
            for name in conditions:
                logits[name][test] = answer(name, test)
        return logits


def uar(logits: Tensor, target: Tensor) -> float:
    """Mean recall of the labels that there are."""
    chosen = logits.argmax(1)
    return float(np.mean([(chosen[target == c] == c).float().mean().item() for c in target.unique()]))


def main() -> None:
    """Run what the command line says."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("recipe", type=Path)
    options.add_argument("--copies", type=int, default=6)
    options.add_argument("--cache", type=Path)
    options.add_argument("--out", type=Path)
    options.add_argument("--groups", type=int, help="leave out so many groups of speakers, not each by itself")
    given = options.parse_args()
    folds = Folds(Recipe.load(given.recipe), given.copies, given.cache)
    conditions = [name for name in folds.vectors if not name.startswith("copy ")]
    speakers = sorted(set(folds.speaker))
    groups = (
        [set(speakers[i :: given.groups]) for i in range(given.groups)] if given.groups else [{s} for s in speakers]
    )
    found: dict[str, Any] = {}
    logits = folds.left_out(groups, conditions)
    for corpus in dict.fromkeys(folds.corpus):
        items = folds.of(lambda i, corpus=corpus: folds.corpus[i] == corpus)  # type: ignore[misc]
        target = folds.target[items]
        for name in conditions:
            found[f"{corpus}, {name}"] = round(uar(logits[name][items], target), 3)
        by_speaker = {
            s: [i for i in items if folds.speaker[i] == s] for s in dict.fromkeys(folds.speaker[i] for i in items)
        }
        found[f"{corpus}, each speaker"] = {
            s: round(uar(logits["as recorded"][i], folds.target[i]), 3) for s, i in by_speaker.items()
        }
        found[f"{corpus}, log loss"] = round(F.cross_entropy(logits["as recorded"][items], target).item(), 3)
    for corpus in dict.fromkeys(folds.corpus):  # trained on the others, their speakers in four groups
        rest = sorted({s for s, c in zip(folds.speaker, folds.corpus, strict=True) if c != corpus})
        if not rest:
            continue
        inside = [i for i, name in enumerate(folds.corpus) if name != corpus]
        outside = [i for i, name in enumerate(folds.corpus) if name == corpus]
        own = torch.zeros(len(folds.target), len(folds.label_set))
        for group in (set(rest[k::4]) for k in range(4)):
            answer = folds.train([i for i in inside if folds.speaker[i] not in group])
            test = [i for i in inside if folds.speaker[i] in group]
            own[test] = answer("as recorded", test)
        temperature = fit_temperature(own[inside].numpy(), folds.target[inside].numpy())
        other = folds.train(inside)("as recorded", outside)
        target = folds.target[outside].numpy()
        found[f"{corpus}, left out"] = {
            "uar": round(uar(other, folds.target[outside]), 3),
            "ece": round(expected_calibration_error((other / temperature).softmax(1).double().numpy(), target), 3),
            "temperature of the others": round(temperature, 2),
            "its own": round(fit_temperature(other.numpy(), target), 2),
        }
    for name, value in found.items():
        print(f"{name}: {value}")
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
