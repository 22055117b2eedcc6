"""What must hold before a training or an evaluation starts, so that it fails at once and says why."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.evaluation.base import METRICS, metrics_of
from maeum.labels import LabelSet
from maeum.media.crops import MARGIN_PX
from maeum.models.encoders.tokenizer import Tokenizer
from maeum.models.network import CTC_LOGITS, PROJECTION, HasFrozenEncoders, Network
from maeum.models.pretrained import InputSettings
from maeum.runs.recipe import Recipe
from maeum.training.loop import recomputes
from maeum.training.losses.emotion import LOSSES
from maeum.types import MODALITIES, Modality


def check_settings(recipe: Recipe, label_set: LabelSet) -> None:
    """Raise ConfigError when the loss or the score is for another kind of target than the corpus has."""
    task = label_set.task
    if recipe.training.loss not in LOSSES[task]:
        raise ConfigError(
            f"the loss {recipe.training.loss!r} is not for {task} targets", remedy=f"Use {' or '.join(LOSSES[task])}."
        )
    _ = METRICS[recipe.score]
    if recipe.score not in (fitting := metrics_of(label_set)):
        raise ConfigError(
            f"the score {recipe.score!r} is not for {task} targets", remedy=f"Use one of {', '.join(fitting)}."
        )


def check_modalities(recipe: Recipe, model: Network, present: Sequence[Modality]) -> None:
    """Raise ConfigError when data are asked for that the network does not read, or it reads what no item has.

    Args:
        recipe: the training's.
        model: its network.
        present: modalities that at least one training item has.
    """
    reads = model.modalities
    asked = {m for data in (*recipe.train, *recipe.dev) for m in data.modalities or ()}
    if recipe.tokenizer is not None:
        asked.add("text")
    for modality in MODALITIES:
        if modality in asked and modality not in reads:
            why = "a tokenizer" if modality == "text" and recipe.tokenizer is not None else "its data"
            raise ConfigError(
                f"{why} gives {modality}, but the network {recipe.model} has no branch that reads it",
                item=recipe.name,
                remedy=f"Add network: {{{modality}: {{}}}}, or leave {modality} out of the recipe.",
            )
        if modality in reads and modality not in present and modality not in recipe.start_from:
            raise ConfigError(
                f"the network {recipe.model} reads {modality}, but no training item has it",
                item=recipe.name,
                remedy=f"Set network: {{{modality}: null}}, or give it data with {modality}.",
            )


def check_tasks(recipe: Recipe, model: Network, label_set: LabelSet) -> None:
    """Raise ConfigError when a further task has a weight that the network, or the data, cannot serve."""
    training, augment = recipe.training, recipe.augment
    shows = model.auxiliary_names
    contrasts = [name for name in ("supervised_contrastive", "augmented_contrastive") if getattr(training, name)]
    if training.ctc and CTC_LOGITS not in shows:
        raise ConfigError("training.ctc has a weight, but this network spells nothing", item=recipe.name,
                          remedy="Use model: mmer, or set training.ctc to 0.")  # fmt: skip
    if contrasts and PROJECTION not in shows:
        raise ConfigError(f"training.{contrasts[0]} has a weight, but this network makes nothing to contrast",
                          item=recipe.name, remedy="Use model: mmer with project above 0, or set it to 0.")  # fmt: skip
    if training.augmented_contrastive and augment.view is None and not any(d.views for d in recipe.train):
        raise ConfigError(
            "training.augmented_contrastive has a weight, but utterances have no augmented views",
            item=recipe.name,
            remedy="Give augment.augmented view, or augmented views of `maeum augment` beside a store, or set it to 0.",
        )
    if training.supervised_contrastive and label_set.task != "single-label":
        raise ConfigError(f"training.supervised_contrastive brings items of one class together; targets are "
                          f"{label_set.task}", item=recipe.name, remedy="Set it to 0.")  # fmt: skip
    if CTC_LOGITS in shows and not training.ctc:
        raise ConfigError("network.characters are spelled by a head that training.ctc = 0 never trains",
                          item=recipe.name, remedy="Leave them out, or give training.ctc a weight.")  # fmt: skip
    if training.memory and training.supervised_contrastive and training.contrast == "published":
        raise ConfigError("training.memory is not part of the published contrast", item=recipe.name,
                          remedy="Set memory to 0.")  # fmt: skip
    frozen = isinstance(model, HasFrozenEncoders) and model.frozen_text_encoder() is not None
    if frozen and "text" not in recipe.start_from and not recipe.network["text"].get("pretrained"):
        raise ConfigError("network.text is frozen, and nothing has trained it", item=recipe.name,
                          remedy="Name a pretrained one or start_from: {text: ...}, "
                          "or set network: {freeze_text: false}.")  # fmt: skip
    if training.recompute and not recomputes(model):
        raise ConfigError("training.recompute is of hub encoders, and this network has none", item=recipe.name,
                          remedy="Leave it out.")  # fmt: skip
    if contrasts and augment.mixup:
        raise ConfigError(f"training.{contrasts[0]} tells classes apart, which augment.mixup blends", item=recipe.name,
                          remedy="Set one of them to 0.")  # fmt: skip
    if training.ctc and augment.mel_chunks is not None and augment.mel_chunks.window:
        raise ConfigError("training.ctc spells whole utterances, of which augment.mel chunks.window keeps a stretch",
                          item=recipe.name, remedy="Set one of them to 0.")  # fmt: skip
    if any(data.views for data in recipe.dev):
        raise ConfigError("gives augmented views to dev items, which are scored as they are", item=recipe.name,
                          remedy="Name augmented views in `train` alone.")  # fmt: skip
    sound = model.input_needs.sound
    if "speech" in model.modalities and recipe.inputs.sound != sound:
        raise ConfigError(f"inputs.sound is {recipe.inputs.sound}, and this network's speech branch reads {sound}",
                          item=recipe.name, remedy=f"Set inputs: {{sound: {sound}}}.")  # fmt: skip
    unread = "mel_chunks" if recipe.inputs.sound == "wave" else "wave"
    if getattr(augment, unread) is not None:
        raise ConfigError(f"augment.{unread} varies what this network does not read: inputs.sound is "
                          f"{recipe.inputs.sound}", item=recipe.name,
                          remedy=f"Give augment.{recipe.inputs.sound} instead.")  # fmt: skip


def check_text(recipe: Recipe, model: Network, tokenizer: Tokenizer | None) -> None:
    """Raise ConfigError when a text branch would get no tokens, too many, or such as it does not know."""
    most, longest = recipe.inputs.max_tokens, model.input_needs.max_tokens
    if longest is not None and longest < most:
        raise ConfigError(
            f"inputs.max_tokens = {most} are more than the {longest} that the text encoder reads",
            item=recipe.name,
            remedy=f"Set inputs: {{max_tokens: {longest}}}.",
        )
    if "text" not in model.modalities:
        return
    if tokenizer is None:
        raise ConfigError("the network has a text branch, but the recipe has no tokenizer")
    known = model.input_needs.vocabulary
    if known is not None and tokenizer.vocabulary_size > known:
        raise ConfigError(
            f"the tokenizer has {tokenizer.vocabulary_size} subwords, the text branch knows {known}",
            remedy="Give tokenizer and network.text the same vocabulary.",
        )


def check_decoding(store: Store, inputs: InputSettings, used: Container[Modality]) -> tuple[str, ...]:
    """Prove that a store was decoded as a recogniser decodes for a model with these input settings.

    A setting that left no trace in the store, such as the time between frames where every item has one picture, is
    not compared.

    Args:
        store: what the model is trained or scored on.
        inputs: the model's settings.
        used: modalities that it reads of the store.

    Returns:
        What to know about a difference that has no setting on the model's side.

    Raises:
        ConfigError: naming both values and what to do.
    """
    manifest = store.manifest
    notes: list[str] = []
    for decode in manifest.get("decode", [manifest["settings"].get("decode", {})]):
        pairs: list[tuple[str, str, Any]] = []
        if "faces" in used and any(row["faces_count"] > 1 for row in store.rows):
            pairs.append(("every_s", "frame_every_s", inputs.frame_every_s))
        if "speech" in used and any(row["mel_chunks_count"] for row in store.rows):
            pairs.append(("trim_silence", "trim_silence", inputs.trim_silence))
        for theirs, ours, value in pairs:
            if decode.get(theirs, value) != value:
                raise ConfigError(
                    f"was decoded with {theirs} = {decode[theirs]}, the model's inputs have {ours} = {value}",
                    item=store.folder,
                    remedy=f"Prepare the corpus in another folder with decode: {{{theirs}: {str(value).lower()}}}, or "
                    f"train with inputs: {{{ours}: {str(decode[theirs]).lower()}}}.",
                )
        if "faces" in used and decode.get("no_face") == "centre-crop":
            notes.append("frames without a face show their centre in this store; a recogniser leaves them out")
    if "faces" in used and manifest.get("faces") == "detect" and inputs.margin_px != MARGIN_PX:
        raise ConfigError(
            f"its faces have a margin of {MARGIN_PX} px, the model's inputs have margin_px = {inputs.margin_px}",
            item=store.folder,
            remedy=f"Train with inputs: {{margin_px: {MARGIN_PX}}}.",
        )
    return tuple(notes)
