"""An epoch of training: this package against the published loop, in one run.

The published loop looks for faces with MTCNN on every sampled frame of a batch, in every forward, and trains FE2E
densely in fp32. Ours has its faces in a prepared store, from which it reads every batch, and trains as `maeum train`
does: bf16 where the processor multiplies it, MESM by its sparse operators. Same clips, frames, mel chunks and tokens;
networks of the published widths, a text encoder of ALBERT-base's shape, random weights. The published sparse network is
not run: at its own setting it is slower than its dense form, whose time is the one here.

    python benchmarks/epoch.py [clip ...] [--rounds 2] [--threads 2] [--top-p 0.5] [--cpu-time]

Frames and sound are decoded beforehand for the published loop, which reads them from files; that is not counted. Ways
take turns; each time is the minimum over the rounds. MESM keeps what its random weights' attention gives at p.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maeum.data.collate import Collator
from maeum.data.dataset import StoreDataset
from maeum.data.feed import Feed
from maeum.data.sampler import BucketSampler
from maeum.labels import EKMAN
from maeum.media.boxes import FaceBox
from maeum.media.faces import centre_crop, crop_face
from maeum.media.mtcnn.networks import load_networks
from maeum.media.mtcnn.reference import detect_reference
from maeum.media.video import sample_frames
from maeum.models.encoders.text import HubTextConfig, build_text_encoder
from maeum.models.encoders.tokenizer import train_tokenizer
from maeum.models.fe2e import FE2E, FE2EConfig
from maeum.models.mesm import MESM, MESMConfig
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.training.config import TrainConfig
from maeum.training.loop import Trainer
from maeum.training.losses.base import BatchOutputs, LossSetup
from maeum.training.objective import Objective, build_objective
from maeum.types import Batch

ROOT = Path(__file__).resolve().parents[1]
EVERY_S = 0.5
BCE = TrainConfig(loss="bce", class_weights=False)
#: ALBERT-base-v2.
ALBERT = {"model_type": "albert", "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072,
          "embedding_size": 128, "vocab_size": 30000}  # fmt: skip
WORDS = "bin blue at f two now and place red with g nine please before you set white in a zero again"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="short recordings; default: those beside the checkout")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--top-p", type=float, default=0.5)
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, on a machine that is shared")
    arguments = parser.parse_args()
    media = ROOT.parent / "shared" / "data" / "media"
    clips = [c.resolve() for c in arguments.clips or sorted(media.glob("*.mpg"))]
    if not clips:
        parser.error("no clips: give some")
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        feed = prepared(clips, Path(folder))
        batch = next(iter(feed.batches(0)))
        print(f"{len(clips)} clips, one batch: {int(batch.faces_mask.sum())} faces, "  # type: ignore[union-attr]
              f"{int(batch.mel_chunks_mask.sum())} mel chunks, {batch.tokens.shape[1]} tokens; "  # type: ignore[union-attr]
              f"{arguments.threads} thread(s), {'processor' if arguments.cpu_time else 'wall'} time")  # fmt: skip
        ways: dict[str, Callable[[], dict[str, float]]] = {
            "published loop": published(clips, batch, clock),
            "FE2E": ours(FE2E(FE2EConfig.parse(sizes())), feed, Path(folder) / "fe2e", clock),
            f"MESM, p = {arguments.top_p:g}": ours(
                MESM(MESMConfig.parse({**sizes(), "top_p": arguments.top_p, "levels": 1})),
                feed, Path(folder) / "mesm", clock,
            ),
            "of which words": words(batch, clock),
        }  # fmt: skip
        best: dict[str, dict[str, float]] = {}
        for number in range(arguments.rounds + 1):
            for name, way in ways.items():
                parts = way()
                if number and sum(parts.values()) < sum(best.get(name, {"": float("inf")}).values()):
                    best[name] = parts
    whole = {name: sum(parts.values()) for name, parts in best.items()}
    theirs = whole["published loop"]
    for name, parts in best.items():
        said = ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts.items())
        ratio = "" if name == "of which words" else f": x{theirs / whole[name]:.2f}"
        print(f"{name:16}{whole[name]:8.2f} s ({said}){ratio}")
    print("goal 6: x5 (stretch x8)")
    return 0


def sizes() -> dict[str, Any]:
    """The published widths."""
    return {"labels": len(EKMAN), "text": {"kind": "hub", "architecture": ALBERT}}


def prepared(clips: list[Path], folder: Path) -> Feed:
    """The clips as a store, fed as a training feeds them."""
    rows = ["path,text,label,speaker,part"]
    rows += [f"{clip},{WORDS},{EKMAN.names[i % len(EKMAN)]},s{i},train" for i, clip in enumerate(clips)]
    (folder / "source").mkdir()
    (folder / "source" / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    prepare("folder", folder / "source", folder / "store", PrepareConfig())
    dataset = StoreDataset(folder / "store", "train", EKMAN, labelled=True)
    tokenizer = train_tokenizer([WORDS] * 20, 60)
    collate = Collator(tokenizer, tokenizer.pad_id, 50)
    return Feed(dataset, BucketSampler([1.0] * len(dataset), len(dataset)), collate)


def published(clips: list[Path], batch: Batch, clock: Callable[[], float]) -> Callable[[], dict[str, float]]:
    """Detection in the forward, then a dense step in fp32."""
    networks = load_networks()
    frames = [[frame.rgb for frame in sample_frames(clip, EVERY_S)] for clip in clips]
    model = FE2E(FE2EConfig.parse(sizes())).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-5)

    def faces_of(pictures: list[Any]) -> Tensor:
        found = []
        for pixels in pictures:
            boxes, scores, _ = detect_reference(networks, pixels)
            faces = [FaceBox(*box, score) for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)]
            face = crop_face(pixels, faces[0]) if faces else centre_crop(pixels)
            found.append(torch.as_tensor(face).permute(2, 0, 1))
        return torch.stack(found)

    plain = objective_of(model)

    def epoch() -> dict[str, float]:
        start = clock()
        shown = nn.utils.rnn.pad_sequence([faces_of(pictures) for pictures in frames], batch_first=True)
        mask = torch.arange(shown.shape[1]) < torch.tensor([[len(pictures)] for pictures in frames])
        middle = clock()
        given = Batch(**{**vars(batch), "faces": shown, "faces_mask": mask})
        assert given.target is not None
        plain.loss(given, BatchOutputs(model(given)))[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        return {"finding faces": middle - start, "network": clock() - middle}

    return epoch


def objective_of(model: FE2E) -> Objective:
    """Binary cross-entropy, without weights of classes."""
    return build_objective(BCE, LossSetup(EKMAN, model))


def ours(model: FE2E, feed: Feed, folder: Path, clock: Callable[[], float]) -> Callable[[], dict[str, float]]:
    """Batches from the store, and the trainer's step."""
    trainer = Trainer(
        model, BCE, objective_of(model), batches=feed.batches, batches_per_epoch=len(feed), evaluate=lambda _: {},
        folder=folder,
    )  # fmt: skip
    model.train()

    def epoch() -> dict[str, float]:
        start = clock()
        batches = list(feed.batches(0))
        middle = clock()
        for batch in batches:
            trainer.train_step(batch)
        return {"reading": middle - start, "network": clock() - middle}

    return epoch


def words(batch: Batch, clock: Callable[[], float]) -> Callable[[], dict[str, float]]:
    """The text encoder alone, forward and backward: part of every way, and not sparse in any."""
    encoder = build_text_encoder(HubTextConfig(architecture=ALBERT)).train()

    def epoch() -> dict[str, float]:
        start = clock()
        assert batch.tokens is not None
        assert batch.tokens_mask is not None
        encoder(batch.tokens, batch.tokens_mask).square().mean().backward()
        return {"network": clock() - start}

    return epoch


if __name__ == "__main__":
    raise SystemExit(main())
