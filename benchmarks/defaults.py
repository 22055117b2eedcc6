"""Whether defaults train: each network with a minimal recipe, scored on dev after every epoch, over several seeds.

    python benchmarks/defaults.py STORE [--networks lf-lstm fe2e] [--modalities speech] [--epochs 6] [--seeds 3]
        [--set training.lr=5e-4]

A minimal recipe names the network, a prepared corpus and the number of epochs. Networks leave out the modalities that
are not named (`network: {faces: null}`), and read text by their small encoders, since those of the hub are not minimal.
MMER reads speech and text, whatever is named. Printed are the mean recall of the labels after every epoch, that of
chance, and the median over seeds of the best epoch.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from maeum.data.store import Store
from maeum.models.registry import MODELS
from maeum.runs.recipe import Recipe
from maeum.runs.train import train


def minimal_recipe(model: str, store: Path, modalities: list[str]) -> dict[str, Any]:
    """What a user has to write."""
    network: dict[str, Any] = {m: None for m in ("faces", "speech", "text") if m not in modalities}
    if "text" in modalities:
        network["text"] = {"kind": "small"} if model in ("fe2e", "mesm") else {}  # whose encoders have kinds
    if model == "mmer":
        modalities = ["speech", "text"]
        network = {"speech": {"kind": "small"}, "text": {"kind": "small"}, "freeze_text": False}
    data = [{"store": str(store), "modalities": modalities}]
    recipe = {"name": model, "model": model, "network": network, "train": data, "dev": data}
    return {**recipe, "tokenizer": {"kind": "small", "vocabulary": 2000}} if "text" in modalities else recipe


def uar_by_epoch(recipe: dict[str, Any], changes: list[str]) -> list[float]:
    """Mean recall on dev after each epoch, in a run folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        train(Recipe.load(path, changes), Path(folder) / "run", console=Console(file=io.StringIO()))
        lines = (Path(folder) / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["uar"] for line in lines]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="a prepared corpus of one label an item")
    parser.add_argument("--networks", nargs="+", default=["lf-lstm", "lf-transformer", "mult"], choices=list(MODELS))
    parser.add_argument("--modalities", nargs="+", default=["speech"])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="NAME=VALUE")
    arguments = parser.parse_args()
    labels = {row["label"] for row in Store(arguments.store).rows if row["part"] == "dev"}
    print(f"{arguments.store.name}, {' and '.join(arguments.modalities)}; chance is {1 / len(labels):.2f}")
    for model in arguments.networks:
        best = []
        for seed in range(arguments.seeds):
            start, recipe = time.monotonic(), minimal_recipe(model, arguments.store, arguments.modalities)
            recipe["training"] = {"epochs": arguments.epochs, "seed": seed}
            scores = uar_by_epoch(recipe, arguments.changes)
            best.append(max(scores))
            shown = " ".join(f"{score:.2f}" for score in scores)
            print(
                f"  {model}, seed {seed}: {shown} ({(time.monotonic() - start) / len(scores):.0f} s an epoch)",
                flush=True,
            )
        print(f"{model}: best epoch {statistics.median(best):.2f} ({min(best):.2f} to {max(best):.2f})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
