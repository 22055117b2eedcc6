"""Does the selection learn where to look? MESM on made-up clips whose label only a small region tells.

    python benchmarks/planted.py [--modality faces|speech] [--selections learned published random all] [--top-p 0.3]
                                 [--sharpness 3] [--sharpen 0.45 0.9] [--anneal 0.65] [--spread 0] [--steps 5000]
                                 [--seeds 3] [--out planted.json]

A clip has one face (or mel chunk) with four marked regions at random places. Each mark (a colour; for mel chunks a
level) is named by one of four words, and each region shows one of four textures. The text names a mark; the label is
the texture in its region, so the other three regions mislead, and words and picture answer together or not at all:
chance is 0.25. Networks differ in their selection alone: all score as `modulated` and are trained at four masses.
Printed for each selection and seed: accuracy on new clips; at each block, and in the mean of the blocks, the share of
the kept attention mass that lies in the named region (for `published` and `random` the share of what is kept), and that
share with the positions right beside the region, which see into it (a position sees 6 pixels, a region has 12); how
much of all positions these two are, which is what the shares would be by chance; and how much is kept. Means over seeds
with a 95 % interval (Student's t). A training takes about 7 minutes of a core; those that `--out` has, made with the
same settings, are not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from maeum.files import atomic_write
from maeum.models.mesm import MESM, CrossModalAttention, MESMConfig
from maeum.types import Batch

BRANCH = {"widths": [8, 16, 24, 32], "stem_blocks": 0, "hidden": 32,
          "transformer": {"layers": 1, "heads": 2, "feedforward": 32}}  # fmt: skip
WORDS = {"kind": "small", "vocabulary": 8, "width": 16, "channels": 16, "dim": 16, "token_dropout": 0.0,
         "embedding_dropout": 0.0, "summary_dropout": 0.0}  # fmt: skip
MARKS, TEXTURES, SIDE = 4, 4, 12
COLOURS = torch.tensor([[200.0, 60, 60], [60, 200, 60], [60, 60, 220], [210, 210, 60]])
#: A mel chunk has one channel: marks differ by their level (of log power) instead of their colour.
LEVELS = torch.tensor([[-3.0], [-1.0], [1.0], [3.0]])
BATCH = 32


@dataclass(frozen=True)
class Outcome:
    """One training. inside, beside, their areas, kept: at each block."""

    selection: str
    seed: int
    accuracy: float
    inside: tuple[float, ...]
    inside_area: tuple[float, ...]
    beside: tuple[float, ...]
    beside_area: tuple[float, ...]
    kept: tuple[float, ...]


def textures() -> Tensor:
    """Stripes, the other way, diagonals and a board, ``(4, side, side)`` of -0.5 and 0.5."""
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    shown = [row % 4 < 2, column % 4 < 2, (row + column) // 2 % 2 == 0, (row // 3 + column // 3) % 2 == 0]
    return torch.stack(shown).float() - 0.5


def draw(n: int, modality: str, generator: torch.Generator) -> tuple[Batch, Tensor, Tensor]:
    """Clips, their labels ``(n,)`` and the named region ``(n, h, w)`` on the map of the first block."""
    height, width = (48, 48) if modality == "faces" else (128, 32)
    places = [(y, x) for y in range(2, height - SIDE, 16) for x in range(2, width - SIDE, 16)]
    named = torch.randint(MARKS, (n,), generator=generator)
    shown = torch.randint(TEXTURES, (n, MARKS), generator=generator)
    noise = torch.rand(n, 3 if modality == "faces" else 1, height, width, generator=generator)
    region = torch.zeros(n, height // 2, width // 2, dtype=torch.bool)
    if modality == "faces":
        maps, marks, patterns, grain = noise * 60 + 100, 0.7 * COLOURS, textures() * 80, 20.0
    else:
        maps, marks, patterns, grain = noise - 6, LEVELS, textures(), 0.25
    for i in range(n):
        for mark, place in enumerate(torch.randperm(len(places), generator=generator)[:MARKS].tolist()):
            y, x = places[place]
            rows, columns = slice(y, y + SIDE), slice(x, x + SIDE)
            plain = marks[mark].view(-1, 1, 1) + patterns[shown[i, mark]]
            maps[i, :, rows, columns] = plain + noise[i, :, rows, columns] * grain
            if mark == named[i]:
                region[i, y // 2 : (y + SIDE) // 2, x // 2 : (x + SIDE) // 2] = True
    there = torch.ones(n, 1, dtype=torch.bool)
    tokens = (named + 1).view(n, 1)
    ids = tuple(map(str, range(n)))
    target = shown[torch.arange(n), named]
    if modality == "faces":
        return Batch(ids, maps.clamp(0, 255).unsqueeze(1), there, None, None, tokens, there), target, region
    return Batch(ids, None, None, maps[:, :1].unsqueeze(1), there, tokens, there), target, region


def weights(model: MESM, batch: Batch, modality: str) -> tuple[Tensor, list[Tensor]]:
    """Logits of the branch, and at each block the mass of every position, zero where it is not kept."""
    found: list[Tensor] = []

    def hook(_: object, __: object, output: tuple[Tensor, Tensor | None]) -> None:
        keep, gate = output
        found.append(keep.float() if gate is None else keep * gate / (2 - gate))  # the gate is 2 r / (1 + r)

    hooks = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, CrossModalAttention)]
    try:
        logits = model(batch).modality_logits[modality]
    finally:
        for handle in hooks:
            handle.remove()
    return logits, found


def train(arguments: argparse.Namespace, selection: str, seed: int) -> Outcome:
    """Train one network and test it on new clips."""
    modality = arguments.modality
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    sizes = {"labels": TEXTURES, "dim": 16, "faces": None, "speech": None, modality: BRANCH, "text": WORDS}
    chosen = {"selection": selection, "top_p": arguments.top_p, "sharpness": arguments.sharpness,
              "sharpen_steps": [round(share * arguments.steps) for share in arguments.sharpen],
              "spread": arguments.spread if selection == "learned" else 0.0}  # fmt: skip
    model = MESM(MESMConfig.parse({**sizes, **chosen}))
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.lr, weight_decay=0.01)
    for step in range(arguments.steps):
        done = step / arguments.steps
        model.train()
        for group in optimizer.param_groups:
            late = max(0.0, (done - arguments.anneal) / (1 - arguments.anneal))
            group["lr"] = arguments.lr * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * late))
        batch, target, _ = draw(BATCH, modality, generator)
        loss = F.cross_entropy(model(batch).modality_logits[modality], target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    right: list[float] = []
    shares: list[list[tuple[float, float, float, float, float]]] = []
    with torch.no_grad():
        for _ in range(8):
            batch, target, region = draw(128, modality, generator)
            logits, blocks = weights(model, batch, modality)
            right.append(float((logits.argmax(1) == target).float().mean()))
            found = []
            for mass in blocks:
                seeing = F.max_pool2d(region.unsqueeze(1).float(), 3, 1, 1)[:, 0] > 0
                parts = [float((mass * of).sum() / mass.sum()) for of in (region, seeing)]
                areas = [float(of.float().mean()) for of in (region, seeing)]
                found.append((parts[0], areas[0], parts[1], areas[1], float((mass > 0).float().mean())))
                region = F.max_pool2d(region.unsqueeze(1).float(), 2)[:, 0] > 0
            shares.append(found)
    means = torch.tensor(shares).mean(0).T.tolist()
    return Outcome(selection, seed, statistics.fmean(right), *map(tuple, means))


def spread(values: list[float]) -> str:
    """Mean and its 95 % interval over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.3f}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modality", choices=("faces", "speech"), default="faces")
    parser.add_argument("--selections", nargs="+", default=["learned", "published", "random", "all"])
    parser.add_argument("--top-p", type=float, default=0.3)
    parser.add_argument("--sharpness", type=float, default=3.0, help="see MESMConfig")
    parser.add_argument(
        "--sharpen",
        type=float,
        nargs=2,
        default=(0.45, 0.9),
        help="between which shares of the training it grows so sharp",
    )
    parser.add_argument("--anneal", type=float, default=0.65, help="the learning rate falls after this share of it")
    parser.add_argument("--spread", type=float, default=0.0, help="of learned: see MESMConfig")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="keep every training's numbers, JSON")
    arguments = parser.parse_args()
    if not 0 <= arguments.anneal < 1:
        parser.error("--anneal is at least 0 and below 1")
    settings = {k: v for k, v in vars(arguments).items() if k not in ("selections", "seeds", "out")}
    settings = json.loads(json.dumps(settings))
    kept: list[Outcome] = []
    if arguments.out is not None and arguments.out.exists():
        written = json.loads(arguments.out.read_text())
        if not isinstance(written, dict) or "settings" not in written:
            parser.error(f"{arguments.out} is another file")
        if written["settings"] != settings:
            parser.error(f"{arguments.out} has other settings: {written['settings']}")
        kept = [
            Outcome(**{k: tuple(v) if isinstance(v, list) else v for k, v in o.items()}) for o in written["outcomes"]
        ]
    outcomes: list[Outcome] = []
    for selection in arguments.selections:
        for seed in range(arguments.seeds):
            there = next((o for o in kept if (o.selection, o.seed) == (selection, seed)), None)
            if there is None:
                there = train(arguments, selection, seed)
                kept.append(there)
                if arguments.out is not None:
                    whole = {"settings": settings, "outcomes": [asdict(o) for o in kept]}
                    with atomic_write(arguments.out) as file:
                        file.write(json.dumps(whole, indent=1).encode() + b"\n")
            outcomes.append(there)
            print(there, flush=True)
    print(
        f"\n{arguments.modality}, p = {arguments.top_p}, sharpness 1 to {arguments.sharpness} between "
        f"{arguments.sharpen[0]} and {arguments.sharpen[1]} of {arguments.steps} steps, spread {arguments.spread}"
    )
    print(f"chance accuracy {1 / TEXTURES}; of all positions, by block: inside "
          f"{' '.join(f'{a:.3f}' for a in outcomes[0].inside_area)}, inside or beside "
          f"{' '.join(f'{a:.3f}' for a in outcomes[0].beside_area)}")  # fmt: skip
    for selection in arguments.selections:
        those = [o for o in outcomes if o.selection == selection]
        whole = [spread([statistics.fmean(share) for share in of]) for of in
                 ([o.inside for o in those], [o.beside for o in those])]  # fmt: skip
        print(f"{selection:10} accuracy {spread([o.accuracy for o in those])}")
        print(f"{'':10} all blocks: mass inside {whole[0]}, inside or beside {whole[1]}")
        for block in range(3):
            inside, beside = (spread([share[block] for share in of]) for of in
                              ([o.inside for o in those], [o.beside for o in those]))  # fmt: skip
            kept = statistics.fmean(o.kept[block] for o in those)
            print(f"{'':10} block {block + 1}: mass inside {inside}, inside or beside {beside}, kept {kept:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
