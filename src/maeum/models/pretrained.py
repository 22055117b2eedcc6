"""Trained models on disk: a folder of weights, settings, tokenizer, calibration and a card with its licence."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b, file_digest, sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save
from torch import Tensor, nn

from maeum.config import Config
from maeum.devices import check_device
from maeum.errors import ConfigError, MaeumError, ModelError
from maeum.files import write_error, write_whole
from maeum.inputs.settings import InputSettings
from maeum.labels import LabelSet
from maeum.models.calibration import Calibration, Coverage, subset_name
from maeum.models.card import ModelCard, markdown
from maeum.models.encoders.hub import fetch
from maeum.models.encoders.tokenizer import Tokenizer, load_tokenizer
from maeum.models.fusion import add_up, shares
from maeum.models.network import BranchesStandAlone, Network
from maeum.models.networks import MODELS
from maeum.models.stored_weights import Precision, packed, unpacked, unreadable_reason, with_present_names
from maeum.types import MODALITIES, Modality, ModelOutput
from maeum.wording import counted

#: Name of the model that ships inside the package.
EMBEDDED = "embedded"
_WEIGHTS, _CONFIG, _CARD, _README = "model.safetensors", "config.json", "card.json", "README.md"
_TOKENIZER = "tokenizer"


class _Stored(Config):
    """The file of a model's folder that says how to build the network again."""

    format: Literal[1] = 1
    """Version of this layout."""
    model: str
    """Name under which the network is registered."""
    network: dict[str, Any]
    """Its settings."""
    labels: dict[str, Any]
    """The label set."""
    inputs: InputSettings = InputSettings()
    """How recordings become its input."""
    calibration: Calibration = Calibration()
    """Temperatures, thresholds and margins that were fitted to it."""
    weights_sha256: str | None = None
    """SHA-256 of the file of weights; null in a folder of an earlier release, which is not checked then."""


@dataclass(frozen=True)
class Pretrained:
    """A trained model, ready to use: the network in eval mode and what belongs to it. folder: where it was read."""

    name: str
    kind: str
    model: Network
    label_set: LabelSet
    tokenizer: Tokenizer | None
    settings: InputSettings
    calibration: Calibration
    card: ModelCard
    folder: Path | None = None

    def __post_init__(self) -> None:
        self.model.answers_scales = bool(self.label_set.scales)

    @property
    def thresholds(self) -> dict[str, float]:
        """Of a multi-label model, the probability of each label above which it applies."""
        values = self.calibration.thresholds or (0.5,) * len(self.label_set)
        return dict(zip(self.label_set.names, values, strict=True))

    def probabilities(self, output: ModelOutput) -> tuple[Tensor, dict[Modality, Tensor], dict[Modality, Tensor]]:
        """Calibrated answers of a batch: probabilities, or values on scales.

        Returns:
            Fused answers ``(batch, labels)``; each modality's own ``(batch, labels)``; each modality's share in the
            fused answer, ``(batch,)``, as the network gives it. Both are empty for a network that reads its modalities
            together only.
        """
        sets = [
            tuple(m for m in MODALITIES if m in output.present and bool(output.present[m][i]))
            for i in range(len(output.logits))
        ]
        output = self._cautious(output)
        scale = output.logits.new_tensor([self.calibration.temperature(s) for s in sets]).unsqueeze(1)
        fused = self.label_set.activate(output.logits / scale)
        logits = {**output.modality_logits, **output.contributions}
        own = {
            m: self.label_set.activate(logits[m] / self.calibration.temperature((m,)))
            for m in output.shares
            if m in logits
        }
        return fused, own, {m: output.shares[m] for m in own}

    def _cautious(self, output: ModelOutput) -> ModelOutput:
        """The output with smaller logits of branches about what is unlike their training data."""
        parts = {**output.modality_logits, **output.contributions}
        divisors = {m: c.divisor(output.features[m]) for m, c in self.calibration.caution.items() if m in parts}
        if not divisors:
            return output
        smaller = {m: part / divisors[m] if m in divisors else part for m, part in parts.items()}
        return replace(
            output,
            logits=add_up(smaller, output.present),
            modality_logits={m: part / divisors.get(m, 1.0) for m, part in output.modality_logits.items()},
            contributions=smaller,
            shares=shares(smaller, output.present, scales=False),
        )


def save_pretrained(
    folder: Path,
    *,
    kind: str,
    model: Network,
    label_set: LabelSet,
    card: ModelCard,
    tokenizer: Tokenizer | None = None,
    settings: InputSettings | None = None,
    calibration: Calibration | None = None,
    precision: Precision = "float32",
) -> None:
    """Write a trained model as a folder that `load_pretrained` reads.

    Args:
        folder: made if absent; files in it are replaced.
        kind: the network's name in `MODELS`.
        model: the network.
        label_set: what its outputs mean.
        card: what users must know.
        tokenizer: of its text branch.
        settings: how recordings become its input.
        calibration: its temperatures, thresholds or margins.
        precision: of the stored weights (`maeum.models.stored_weights.packed`); it is computed in float32 all the same.

    Raises:
        ConfigError: on an unknown network, or one that reads text but is given without its tokenizer.
        ModelError: when the folder cannot be written.
    """
    if kind not in MODELS:
        raise ConfigError(f"unknown network {kind!r}", remedy=f"Known: {', '.join(MODELS)}.")
    if tokenizer is None and "text" in model.modalities:
        raise ConfigError("the network reads text, and comes without its tokenizer", item=folder,
                          remedy="Give tokenizer=, such as one of train_tokenizer.")  # fmt: skip
    weights = save(packed(model.state_dict(), precision), {"licence": card.licence, "name": card.name})
    stored = _Stored(
        model=kind,
        network=model.stored_settings().model_dump(mode="json"),
        labels=label_set.to_dict(),
        inputs=settings or InputSettings(),
        calibration=calibration or Calibration(),
        weights_sha256=sha256(weights).hexdigest(),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _WEIGHTS, weights, ModelError)
        if tokenizer is not None:
            tokenizer.save(folder / _TOKENIZER)
        stored.save(folder / _CONFIG, ModelError)
        write_card(folder, card)
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"cannot be written ({error})", item=folder, remedy="Choose another folder.") from error


def move_pretrained(written: Path, folder: Path) -> None:
    """Move all files of a model folder into another one, where they replace those of the same names.

    The other folder is a model folder only when all of them are there, as the last of them makes it one.

    Raises:
        ModelError: when the folder cannot be written.
    """
    order = {_CARD: -1, _CONFIG: 1}
    try:
        (folder / _CONFIG).unlink(missing_ok=True)
        for path in sorted(written.iterdir(), key=lambda path: (order.get(path.name, 0), path.name)):
            if (folder / path.name).is_dir():
                shutil.rmtree(folder / path.name)
            path.replace(folder / path.name)
    except OSError as error:
        raise write_error(folder, error, ModelError) from error


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card of a model folder, for programs and for people, with the size of its weights.

    Raises:
        ModelError: when the folder cannot be written.
    """
    card = card.model_copy(update={"bytes": (folder / _WEIGHTS).stat().st_size})
    card.save(folder / _CARD, ModelError)
    write_whole(folder / _README, markdown(card), ModelError)


def write_calibration(folder: Path, calibration: Calibration, note: str, *, instead_of: str | None = None) -> None:
    """Give a model folder another calibration, and its card a note on it.

    Args:
        folder: of the model.
        calibration: takes the place of the model's own.
        note: for the card.
        instead_of: a note on the calibration before, which is taken away.

    Raises:
        ModelError, ConfigError: when the folder cannot be read or written.
    """
    stored = _Stored.load(folder / _CONFIG)
    card = ModelCard.load(folder / _CARD)
    kept = (one for one in card.notes if one != instead_of)
    write_card(folder, card.model_copy(update={"notes": (*kept, note)}))
    stored.model_copy(update={"calibration": calibration}).save(folder / _CONFIG, ModelError)


def load_pretrained(
    name_or_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
    modalities: Sequence[Modality] | None = None,
) -> Pretrained:
    """Load a trained model.

    Args:
        name_or_dir: None or ``embedded`` for the one that ships; a folder written by `save_pretrained`; or the name of
            a repository on the Hugging Face hub with such a folder.
        device: where it runs.
        modalities: the branches that are wanted; the others' weights are not taken, and only the licences of these
            bind. None is all.

    Raises:
        ModelError: when there is no such model or branch, it cannot be fetched, or a file of it is missing, damaged or
            does not belong to the others.
        ConfigError: when a setting of its files has a value that cannot be.
    """
    folder, name = _find(name_or_dir)
    if missing := _missing(folder):
        remedy = "Give a folder written by `maeum train`, or leave --model out for the embedded model."
        if not _missing(folder / "model"):
            remedy = f"Give the model that this run made: {folder / 'model'}."
        raise ModelError(f"is not a model folder: {missing[0]} is missing", item=folder, remedy=remedy)
    stored = _Stored.load(folder / _CONFIG)
    card = ModelCard.load(folder / _CARD)
    weights = _read_weights(folder / _WEIGHTS, stored.weights_sha256)
    some = modalities is not None and set(modalities) != set(card.modalities)
    if modalities is not None and some:
        card = card.of_branches(_own_branches(card, modalities, folder))
        settings, weights = _only_branches(stored, weights, card.modalities, folder)
        stored = stored.model_copy(update={"network": settings})
    label_set, model = _build(stored, folder / _CONFIG)
    if some:
        card = card.model_copy(update={"parameters": sum(p.numel() for p in model.parameters())})
    if "text" in model.modalities and not (folder / _TOKENIZER).is_dir():
        raise ModelError(f"its network reads text, but the folder {_TOKENIZER} is missing", item=folder,
                         remedy="Copy or fetch the whole model folder again.")  # fmt: skip
    model.load_state_dict(_fitting(weights, model, folder / _WEIGHTS))
    model = on_device(model, device).eval()
    model.requires_grad_(False)
    tokenizer = None
    if (folder / _TOKENIZER).is_dir() and (modalities is None or "text" in model.modalities):
        tokenizer = load_tokenizer(folder / _TOKENIZER)
    return Pretrained(name, stored.model, model, label_set, tokenizer, stored.inputs, stored.calibration, card, folder)


def _build(stored: _Stored, path: Path) -> tuple[LabelSet, Network]:
    """The label set and the network, without its weights; raises an error naming the file where they do not fit."""
    try:
        label_set = LabelSet.from_dict(stored.labels)
        model = MODELS[stored.model].build(stored.network)
    except MaeumError as error:
        if error.item is not None:
            raise
        raise type(error)(error.problem, item=path, remedy=error.remedy) from error
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise ModelError(f"the network cannot be built: {error}", item=path, remedy=_AGAIN) from error
    outputs = getattr(model.built_from, "labels", len(label_set))
    if outputs != len(label_set):
        raise ModelError(f"has {counted(len(label_set), 'label')} for {counted(outputs, 'output')} of its network",
                         item=path, remedy=_AGAIN)  # fmt: skip
    thresholds, recalibrate = stored.calibration.thresholds, "Calibrate the model again."
    if thresholds is not None and len(thresholds) != len(label_set):
        raise ModelError(f"has {counted(len(thresholds), 'threshold')} for {counted(len(label_set), 'label')}",
                         item=path, remedy=recalibrate)  # fmt: skip
    if wrong := [m for m in stored.calibration.margins.values() if len(m) != len(label_set)]:
        raise ModelError(f"has {counted(len(wrong[0]), 'margin')} for {counted(len(label_set), 'scale')}",
                         item=path, remedy=recalibrate)  # fmt: skip
    return label_set, model


_AGAIN = "Fetch or copy the model folder again."


def _own_branches(card: ModelCard, modalities: Sequence[Modality], folder: Path) -> list[Modality]:
    """The wanted modalities, in the model's order; raises ModelError where it does not read one of them."""
    if strange := [m for m in modalities if m not in card.modalities]:
        raise ModelError(f"does not read {strange[0]}", item=folder, remedy=f"It reads {', '.join(card.modalities)}.")
    if not modalities:
        raise ModelError("no modality is wanted", item=folder, remedy=f"Name some of {', '.join(card.modalities)}.")
    return [m for m in card.modalities if m in modalities]


def _only_branches(
    stored: _Stored, weights: Mapping[str, Tensor], modalities: Sequence[Modality], folder: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of some branches; raises ModelError where the network cannot be taken apart."""
    network = MODELS[stored.model].network
    if not issubclass(network, BranchesStandAlone):
        raise ModelError(f"{stored.model} reads its modalities together: no branch answers by itself", item=folder,
                         remedy="Leave modalities out.")  # fmt: skip
    try:
        return network.only_branches(stored.network, weights, modalities)
    except (KeyError, IndexError) as error:
        raise ModelError(f"the weights do not fit the network of {_CONFIG}: {error} is missing", item=folder,
                         remedy=_AGAIN) from error  # fmt: skip


def _read_weights(path: Path, expected: str | None) -> dict[str, Tensor]:
    """The weights of a file, in float32; raises ModelError where it is damaged."""
    try:
        if expected is not None:
            with path.open("rb") as file:
                if file_digest(file, "sha256").hexdigest() != expected:
                    raise ModelError(f"the weights are not those that {_CONFIG} was written with (another SHA-256)",
                                     item=path, remedy=_AGAIN)  # fmt: skip
        return unpacked(load_file(path))
    except (OSError, safetensors.SafetensorError, RuntimeError) as error:
        raise ModelError(f"the weights cannot be read: {unreadable_reason(error)}", item=path, remedy=_AGAIN) from error


def _fitting(weights: Mapping[str, Tensor], model: Network, path: Path) -> dict[str, Tensor]:
    """The weights by the network's own names; raises ModelError where they are not its own."""
    wanted = model.state_dict()
    weights = with_present_names(weights, wanted)
    problems = [f"{name} is missing" for name in wanted if name not in weights]
    problems += [f"the network has no {name}" for name in weights if name not in wanted]
    problems += [
        f"{name} is {_shape(weights[name])}, and {_shape(tensor)} in the network"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f" (and {counted(len(problems) - 1, 'other difference')})" if len(problems) > 1 else ""
        raise ModelError(f"the weights do not fit the network of {_CONFIG}: {problems[0]}{more}",
                         item=path, remedy=_AGAIN)  # fmt: skip
    if broken := [name for name, t in weights.items() if t.is_floating_point() and not t.isfinite().all()]:
        raise ModelError(f"the weights of {broken[0]} hold numbers that are not finite", item=path, remedy=_AGAIN)
    return weights


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def on_device(model: Network, device: str | torch.device) -> Network:
    """The network moved to a device, in the memory format that convolutions like; raises ModelError."""
    check_device(str(device))
    try:
        moved: Network = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"the device {str(device)!r} cannot be used: {str(error).splitlines()[0]}",
            remedy="Use --device cpu (in Python device='cpu'); `maeum doctor` lists the devices.",
        ) from error
    return moved


def weights_digest(model: nn.Module) -> str:
    """A short hash of the parameters and buffers, whatever the precision they were saved in."""
    total = blake2b(digest_size=10)
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().view(-1).float().numpy().tobytes())
    return total.hexdigest()


def available() -> list[ModelCard]:
    """Cards of the models that are on this machine and need no download."""
    card = embedded_folder() / _CARD
    return [ModelCard.load(card)] if card.is_file() else []


def embedded_folder() -> Path:
    """Where the model that ships lies."""
    return Path(str(files("maeum.models"))) / "embedded"


def _find(name_or_dir: str | Path | None) -> tuple[Path, str]:
    if name_or_dir is None or str(name_or_dir) == EMBEDDED:
        return embedded_folder(), EMBEDDED
    folder = Path(name_or_dir)
    if folder.is_dir():
        return folder, str(name_or_dir)
    if isinstance(name_or_dir, Path) or name_or_dir.count("/") != 1 or name_or_dir.startswith((".", "/", "~")):
        raise ModelError(
            "no such folder, and no model of that name ships",
            item=name_or_dir,
            remedy=f"Use {EMBEDDED!r}, a folder written by `maeum train`, or owner/name on the hub.",
        )
    return _download(name_or_dir), name_or_dir


def _download(repository: str) -> Path:
    def get(local: bool) -> Path:
        folder = Path(snapshot_download(repository, local_files_only=local))
        if missing := _missing(folder):  # as when an earlier download was interrupted
            raise FileNotFoundError(f"it has no {missing[0]}")
        return folder

    return fetch(repository, "model", get)


def _missing(folder: Path) -> list[str]:
    return [name for name in (_WEIGHTS, _CONFIG, _CARD) if not (folder / name).is_file()]


__all__ = [
    "EMBEDDED",
    "Calibration",
    "Coverage",
    "Pretrained",
    "available",
    "embedded_folder",
    "load_pretrained",
    "move_pretrained",
    "on_device",
    "save_pretrained",
    "subset_name",
    "weights_digest",
    "write_calibration",
    "write_card",
]
