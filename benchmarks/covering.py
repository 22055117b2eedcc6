"""How much of what a dense network sees is left when little is kept? By how the kept positions cover a map.

    python benchmarks/covering.py --model runs/mesm/collage/fe2e/seed-0/model --store stores/collage [--top-p 0.3]
                                  [--steps 300] [--seed 0]

MESMs start from the face branch of a trained FE2E and learn to encode faces as it does, without labels or words, each
with another way to choose what it keeps at its three blocks. Printed for each: the share of the dense encodings'
variance that is not explained (0: the same; 1: only their mean is known) on the first of the store's training faces and
on its dev faces, and how much of all positions each block keeps. They learn from faces rolled by up to 2 pixels, and
from mirror images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maeum.data.dataset import StoreDataset
from maeum.errors import StoreError
from maeum.models.fe2e import FE2E
from maeum.models.mesm import MESM, MESMConfig
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.runs.predict import collator
from maeum.training.losses.encoding_distillation import encoding_loss
from maeum.types import Modality, ModelOutput

WAYS: dict[str, dict[str, Any]] = {
    "everything": {"top_p": 1.0},
    "learned": {},
    "learned, spread 1": {"spread": 1.0},
    "a grid (spread 9)": {"spread": 9.0},
    "random": {"selection": "random"},
}
BATCH = 64


def faces_of(store: Path, part: str, dense: Pretrained) -> Tensor:
    """All faces of a part as the network's CNN wants them, ``(n, channels, 48, 48)``."""
    items = StoreDataset(store, part, None, ("faces",))
    collate = collator(None, dense.settings)
    found = []
    for start in range(0, len(items), BATCH):
        batch = collate([items[i] for i in range(start, min(start + BATCH, len(items)))])
        if batch.faces is not None and batch.faces_mask is not None:
            found.append(dense.model.face_maps(batch.faces[batch.faces_mask]))  # type: ignore[operator]
    if not found:
        raise StoreError(f"has no faces in its part {part}", item=store)
    return torch.cat(found)


def unlike(model: MESM, dense: FE2E, faces: Tensor) -> tuple[Tensor, list[Tensor]]:
    """`encoding_loss` of these faces, and what each block kept."""
    with torch.no_grad():
        theirs = dense.encoders["faces"](faces)
    mine, kept = model.encoders["faces"](faces, model.absent_text.expand(len(faces), -1))
    there: dict[Modality, Tensor] = {"faces": torch.ones(1, dtype=torch.bool)}
    said = [ModelOutput(faces.new_zeros(1, 1), present=there, auxiliary={"faces.encoded": e}) for e in (mine, theirs)]
    return encoding_loss(*said), kept


def train(arguments: argparse.Namespace, source: Pretrained, way: dict[str, Any], faces: Tensor) -> MESM:
    """A MESM that has learned to encode faces as the dense network does."""
    dense = source.model
    assert isinstance(dense, FE2E)
    torch.manual_seed(arguments.seed)
    settings = {**dense.config.model_dump(), "text": None, "speech": None, "levels": 1, "top_p": arguments.top_p, **way}
    model = MESM(MESMConfig.parse(settings))
    model.take_over_branch(source.model, "faces", source.calibration.temperature(("faces",)))
    encoder = model.encoders["faces"]
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3, weight_decay=0.02)
    generator = torch.Generator().manual_seed(arguments.seed)
    model.train()
    for step in range(arguments.steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 30) * (1 - step / arguments.steps)
        shown = faces[torch.randint(len(faces), (BATCH,), generator=generator)]
        if float(torch.rand((), generator=generator)) < 0.5:
            shown = shown.flip(-1)
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        loss, _ = unlike(model, dense, torch.roll(shown, (down, right), (2, 3)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained FE2E with faces")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--top-p", type=float, default=0.3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = load_pretrained(arguments.model)
    if not isinstance(source.model, FE2E) or source.model.config.faces is None:
        parser.error(f"{arguments.model} is no FE2E that reads faces")
    train_faces, dev_faces = (faces_of(arguments.store, part, source) for part in ("train", "dev"))
    print(f"p = {arguments.top_p}, {arguments.steps} steps, {len(train_faces)} training and {len(dev_faces)} dev faces")
    for name, way in WAYS.items():
        model = train(arguments, source, way, train_faces)
        with torch.no_grad():
            seen, _ = unlike(model, source.model, train_faces[: len(dev_faces)])
            new, kept = unlike(model, source.model, dev_faces)
        shares = " ".join(f"{float(k.float().mean()):.3f}" for k in kept)
        print(f"{name:18} not explained: training {float(seen):.3f}, dev {float(new):.3f}; kept {shares}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
