"""Attention of MESM: pictures of the positions that it selects, and their shares in the regions of a face."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, select_autoescape
from rich.console import Console
from torch import Tensor, nn

from maeum.data.dataset import StoreDataset
from maeum.errors import ConfigError
from maeum.media.mtcnn.networks import load_networks
from maeum.media.shapes import FACE_PX
from maeum.models.network import SelectsPositions
from maeum.models.pretrained import Pretrained
from maeum.reports import figures
from maeum.reports.tables import markdown_table
from maeum.runs.predict import collator
from maeum.studies.face_regions import REGIONS, TEMPLATE, aligned, region_masks
from maeum.studies.study import Study, StudyPage, first_fold, items_of, swept, train_all
from maeum.types import Batch

#: Faces that shares are taken of; the first ones of the part.
_MOST_FACES = 1500
#: Below this certainty that it is a face, landmarks are not believed.
_FACE = 0.5
#: What an item is called that carries none of several labels.
_NONE = "none"
_BATCH = 32


@dataclass(frozen=True)
class Looks:
    """Where a network looked in faces.

    shares: p -> block -> emotion ("all" too) -> region -> share of the selected positions. area: block -> region ->
    share of all positions, which is what a blind selection has. density: emotion -> share of the blocks that select
    each place of an aligned face, at the network's own p, ``(48, 48)``. faces: how many; unclear: left out, as no
    landmarks were found.
    """

    shares: dict[float, list[dict[str, dict[str, float]]]]
    area: list[dict[str, float]]
    density: dict[str, Tensor]
    faces: int
    unclear: int

    def record(self) -> dict[str, Any]:
        """All but the density, for JSON."""
        return {"shares": self.shares, "area": self.area, "faces": self.faces, "unclear": self.unclear}


@cache
def _output_net() -> nn.Module:
    return load_networks()[2].eval()


@torch.inference_mode()
def landmarks_of(faces: Tensor) -> tuple[Tensor, Tensor]:
    """MTCNN's landmarks of faces ``(n, 3, 48, 48)``, 0..255, as shares of their size, and how sure it is of the face.

    Returns:
        ``(n, 5, 2)``: eyes, nose, corners of the mouth, and ``(n,)``.
    """
    _, certain, points = _output_net()((faces.float() - 127.5) / 128)
    return points.view(-1, 2, 5).transpose(1, 2), certain


def batches(dataset: StoreDataset, pretrained: Pretrained) -> Iterator[tuple[Sequence[int], Batch]]:
    """Items of a dataset, in its order."""
    collate = collator(pretrained.tokenizer, pretrained.settings)
    for start in range(0, len(dataset), _BATCH):
        indices = range(start, min(start + _BATCH, len(dataset)))
        yield indices, collate([dataset[i] for i in indices])


def selector(pretrained: Pretrained) -> SelectsPositions:
    """The network of a model, as one that selects positions; raises ConfigError for another one."""
    if not isinstance(pretrained.model, SelectsPositions):
        raise ConfigError(f"its network {pretrained.kind} selects no positions", item=pretrained.name)
    return pretrained.model


@torch.inference_mode()
def look(pretrained: Pretrained, dataset: StoreDataset, masses: Sequence[float], own: float) -> Looks:
    """Where a network looks in the faces of a dataset; ``own``: at which mass its density is drawn."""
    network, selective = pretrained.model, selector(pretrained)
    names = pretrained.label_set.names
    device, targets = next(network.parameters()).device, dataset.targets()
    counts: dict[tuple[float, int, str], Tensor] = defaultdict(lambda: torch.zeros(len(REGIONS)))
    areas: dict[int, Tensor] = defaultdict(lambda: torch.zeros(len(REGIONS)))
    density: dict[str, list[Tensor]] = defaultdict(list)
    faces = unclear = 0
    for indices, batch in batches(dataset, pretrained):
        if faces >= _MOST_FACES:
            break
        if batch.faces is None or batch.faces_mask is None:
            continue
        shown = batch.faces[batch.faces_mask]
        points, certain = landmarks_of(shown)
        clear = certain >= _FACE
        faces, unclear = faces + int(clear.sum()), unclear + int((~clear).sum())
        if not clear.any():
            continue
        owner = batch.faces_mask.nonzero(as_tuple=True)[0][clear].tolist()
        emotions_of_faces = [_emotions(targets[indices[i]], names) for i in owner]
        height, width = shown.shape[-2:]
        inside = [region_masks(points[clear], height >> n, width >> n) for n in (1, 2, 3)]
        for block in range(3):
            areas[block] += inside[block].sum((0, 2, 3))
        given = batch.to(device)
        for p in masses:
            selective.top_p = p
            blocks = selective.selected(network(given), "faces")
            for block in range(3):
                selected = blocks[block].cpu()[clear]
                for number, emotions in enumerate(emotions_of_faces):
                    here = (inside[block][number] & selected[number]).sum((1, 2))
                    for emotion in (*emotions, "all"):
                        counts[p, block, emotion] += here
                if p == own:
                    drawn = aligned(selected.unsqueeze(1).float(), points[clear], FACE_PX)
                    for emotions, one in zip(emotions_of_faces, drawn, strict=True):
                        for emotion in emotions:
                            density[emotion].append(one[0])
    if not faces:
        raise ConfigError("has no faces in which landmarks are found", item=str(dataset.store.folder))
    seen = ["all", *(n for n in (*names, _NONE) if (masses[0], 0, n) in counts)]
    return Looks(
        shares={p: [{e: _shares(counts[p, block, e]) for e in seen} for block in range(3)] for p in masses},
        area=[_shares(areas[block]) for block in range(3)],
        density={e: torch.stack(density[e]).mean(0) for e in seen if density[e]},
        faces=faces,
        unclear=unclear,
    )


def _emotions(target: Tensor | None, names: Sequence[str]) -> list[str]:
    """The labels of an item."""
    assert target is not None
    if target.ndim == 0:
        return [names[int(target)]]
    return [name for name, on in zip(names, target.tolist(), strict=True) if on > 0.5] or [_NONE]


def _shares(counts: Tensor) -> dict[str, float]:
    return dict(zip(REGIONS, (counts / counts.sum().clamp(min=1)).tolist(), strict=True))


def attention(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """Pictures of one clip of each emotion, and the shares of eyes, nose, mouth and background."""
    study, chosen = first_fold(study, swept(study))
    trained = train_all(study, chosen, out, device, console)
    pictured = trained[0].model()
    if pictured.label_set.task == "dimensional":
        raise ConfigError("has values on scales; pictures are of emotions", item=study.name)
    own = selector(pictured).top_p
    dataset = items_of(study, trained[0])
    pictures = _clips(pictured, dataset, own)
    page = [f"# {study.title}: where MESM looks", ""]
    numbers: dict[str, Any] = {"study": study.name}
    files: dict[str, str | bytes] = {f"clip-{emotion}.png": png for emotion, png in pictures.items()}
    if "faces" in pictured.card.modalities:
        masses = sorted({own, *(p for p in study.top_p if p < 1)})
        looks = {
            r.variant.title: [look(r.model(i), dataset, masses, own) for i in range(len(r.folders))] for r in trained
        }
        page += _regions(looks, masses, own)
        numbers["looks"] = {title: [one.record() for one in seeds] for title, seeds in looks.items()}
        drawn = {title: seeds[0].density for title, seeds in looks.items()}
        files["density.svg"] = figures.densities(drawn, TEMPLATE)
        page += ["", "How many of the blocks select each place of a face, by emotion, aligned on the landmarks (dots), "
                 f"p = {own:g}, first seed:", "", "![density](density.svg)", ""]  # fmt: skip
    shown = {
        "title": study.title,
        "pictures": [(e, base64.b64encode(png).decode()) for e, png in pictures.items()],
        "density": files.get("density.svg", ""),
        "top_p": own,
    }
    environment = Environment(loader=PackageLoader("maeum.reports"), autoescape=select_autoescape(["html.j2"]))
    files["attention.html"] = environment.get_template("attention.html.j2").render(shown)
    return StudyPage("\n".join(page), numbers, files)


def _regions(looks: dict[str, list[Looks]], masses: Sequence[float], own: float) -> list[str]:
    """Tables: by p and block over all emotions, and by emotion at the own mass."""
    first = next(iter(looks.values()))[0]
    lines = [
        f"Shares of the selected positions in the regions of {first.faces:,} faces, relative to the region's share of "
        "all positions: 1 is what a blind selection has, more is favoured. Means over "
        f"{len(next(iter(looks.values())))} seeds, in brackets the lowest and the highest. Regions are discs around "
        "MTCNN's landmarks of the eyes and the nose and a band around the mouth; "
        f"{first.unclear:,} faces without clear landmarks are left out.", "",
    ]  # fmt: skip
    heads = ["network", "p", "block", *REGIONS]
    rows = []
    for title, seeds in looks.items():
        for p in masses:
            for block in range(3):
                rows.append([title, f"{p:g}", block + 1, *_ratios(seeds, p, block, "all")])
    area = [["share of all positions", "", b + 1, *(f"{first.area[b][r]:.3f}" for r in REGIONS)] for b in range(3)]
    lines += [*markdown_table(heads, [*area, *rows]), "", f"By emotion, third block, p = {own:g}:", ""]
    emotions = list(first.shares[own][0])
    rows = [[title, e, *_ratios(seeds, own, 2, e)] for title, seeds in looks.items() for e in emotions]
    return [*lines, *markdown_table(["network", "emotion", *REGIONS], rows)]


def _ratios(seeds: Sequence[Looks], p: float, block: int, emotion: str) -> Iterator[str]:
    for region in REGIONS:
        values = [s.shares[p][block][emotion][region] / max(s.area[block][region], 1e-9) for s in seeds]
        yield f"{fmean(values):.2f}" + (f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else "")


@torch.inference_mode()
def _clips(pretrained: Pretrained, dataset: StoreDataset, own: float) -> dict[str, bytes]:
    """The first clip of each emotion as a picture, by the emotion."""
    selector(pretrained).top_p = own
    network = pretrained.model
    names = pretrained.label_set.names
    device, targets = next(network.parameters()).device, dataset.targets()
    collate = collator(pretrained.tokenizer, pretrained.settings)
    found: dict[str, bytes] = {}
    for i in range(len(dataset)):
        emotion = _emotions(targets[i], names)[0]
        if emotion in found:
            continue
        batch = collate([dataset[i]]).to(device)
        found[emotion] = clip_picture(pretrained, batch, f"{emotion}: {dataset.ids[i]}")
        if len(found) == len(names):
            break
    return found


@torch.inference_mode()
def clip_picture(pretrained: Pretrained, batch: Batch, title: str) -> bytes:
    """A clip as a network that selects positions sees it, PNG.

    Its first face and its mel chunks, and over them the positions that each block selects.

    Args:
        pretrained: the model.
        batch: of one clip.
        title: over the picture.
    """
    output, selective = pretrained.model.eval()(batch), selector(pretrained)
    face: Tensor | None = None
    sound: Tensor | None = None
    selected_face = [positions[0].cpu() for positions in selective.selected(output, "faces")]
    if selected_face and batch.faces is not None and batch.faces_mask is not None:
        face = batch.faces[batch.faces_mask][0].cpu()
    selected_sound = [torch.cat(list(positions.cpu()), 1) for positions in selective.selected(output, "speech")]
    if selected_sound and (maps := selective.mel_maps(batch)) is not None:
        sound = torch.cat(list(maps[:, 0].cpu()), 1)
    return figures.selected_positions(face, selected_face, sound, selected_sound, title)


__all__ = ["Looks", "attention", "clip_picture", "landmarks_of", "look"]
