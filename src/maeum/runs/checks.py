"""What must hold before a training or an evaluation starts, so that it fails at once and says why."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.evaluation.base import METRICS, metrics_of
from maeum.inputs.settings import InputSettings
from maeum.labels import LabelSet
from maeum.models.encoders.tokenizer import Tokenizer
from maeum.models.network import CTC_LOGITS, HasFrozenEncoders, Network
from maeum.runs.recipe import Recipe
from maeum.training.loop import recomputes
from maeum.training.objective import emotion_loss_name
from maeum.types import MODALITIES, Modality


def check_settings(recipe: Recipe, label_set: LabelSet) -> None:
    """Raise ConfigError when the loss or the score is for another kind of target than the corpus has."""
    task = label_set.task
    _ = emotion_loss_name(recipe.training, label_set)
    _ = METRICS[recipe.score]
    if recipe.score not in (fitting := metrics_of(label_set)):
        raise ConfigError(
            f"the score {recipe.score!r} is not for {task} targets", remedy=f"Use one of {', '.join(fitting)}."
        )


def check_modalities(recipe: Recipe, model: Network, present: Sequence[Modality]) -> None:
    """Raise ConfigError when the recipe gives data that the network does not read, or it reads what no item has.

    Args:
        recipe: the training's.
        model: its network.
        present: modalities that at least one training item has.
    """
    reads = model.modalities
    given = {m for data in (*recipe.train, *recipe.dev) for m in data.modalities or ()}
    if recipe.tokenizer is not None:
        given.add("text")
    for modality in MODALITIES:
        if modality in given and modality not in reads:
            why = "a tokenizer" if modality == "text" and recipe.tokenizer is not None else "its data"
            raise ConfigError(
                f"{why} gives {modality}, but the network {recipe.model} has no branch that reads it",
                item=recipe.name,
                remedy=f"Add network: {{{modality}: {{}}}}, or leave {modality} out of the recipe.",
            )
        if modality in reads and modality not in present and modality not in recipe.start_from:
            raise ConfigError(
                f"the network {recipe.model} reads {modality}, but no training item has any",
                item=recipe.name,
                remedy=f"Set network: {{{modality}: null}} (--set network.{modality}=null), or give it data with "
                f"{modality}.",
            )


def check_tasks(recipe: Recipe, model: Network) -> None:
    """Raise ConfigError when parts of the recipe are set that the network, or another part, cannot serve."""
    training, augment = recipe.training, recipe.augment
    if CTC_LOGITS in model.auxiliary_names and not training.needs_transcripts:
        raise ConfigError("network.characters makes a CTC head that is never trained without the loss 'ctc'",
                          item=recipe.name,
                          remedy="Leave them out, or give training.losses.ctc a weight.")  # fmt: skip
    frozen = isinstance(model, HasFrozenEncoders) and model.frozen_text_encoder() is not None
    if frozen and "text" not in recipe.start_from and not recipe.network["text"].get("pretrained"):
        raise ConfigError("network.text is frozen, and nothing has trained it", item=recipe.name,
                          remedy="Name a pretrained one or start_from: {text: ...}, "
                          "or set network: {freeze_text: false}.")  # fmt: skip
    if training.recompute and not recomputes(model):
        raise ConfigError("training.recompute is of hub encoders, and this network has none", item=recipe.name,
                          remedy="Leave it out.")  # fmt: skip
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


def unused_augmentation(recipe: Recipe, model: Network) -> list[str]:
    """Notes on augmentation of modalities that the network does not read.

    That is no error, as the entries of a comparison share their augmentation.
    """
    return [
        f"augment.{modality} has no effect: the network does not read {modality}"
        for modality, varied in (("faces", recipe.augment.faces), ("text", recipe.augment.text))
        if varied is not None and modality not in model.modalities
    ]


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


#: The settings of `ClipSettings` that shape each modality of a store.
_SHAPING: dict[Modality, tuple[str, ...]] = {"faces": ("frame_every_s",), "speech": ("trim_silence",), "text": ()}


def check_inputs(store: Store, inputs: InputSettings, used: Container[Modality]) -> tuple[str, ...]:
    """Check that a store was made with a model's input settings.

    A setting that left no trace in the store, such as the time between frames where every item has one picture, is
    not compared.

    Args:
        store: what the model is trained or scored on.
        inputs: the model's settings.
        used: modalities that it reads of the store.

    Returns:
        What to know about differences that a recogniser has no setting for.

    Raises:
        ConfigError: naming the setting, both values and what to do.
    """
    shaped = {"faces": any(row["faces_count"] > 1 for row in store.rows),
              "speech": any(row["mel_chunks_count"] for row in store.rows)}  # fmt: skip
    names = [name for m in MODALITIES if m in used and shaped.get(m) for name in _SHAPING[m]]
    for theirs in _made_with(store.manifest):
        for name in names:
            if name in theirs and theirs[name] != getattr(inputs, name):
                was, now = (json.dumps(value) for value in (theirs[name], getattr(inputs, name)))
                raise ConfigError(
                    f"was prepared with {name}: {was}, and the model's inputs have {name}: {now}",
                    item=store.folder,
                    remedy=f"Prepare the corpus in another folder with inputs: {{{name}: {now}}}, or train with "
                    f"inputs: {{{name}: {was}}}.",
                )
    if "faces" in used and any(theirs.get("no_face") == "centre-crop" for theirs in _made_with(store.manifest)):
        return ("frames without a face show their centre in this store; in use they are left out",)
    return ()


def _made_with(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings that a store's media were made with (of each source of a collage), as far as they are known."""
    if "inputs" in manifest:
        return list(manifest["inputs"])
    settings = manifest["settings"]
    return [{**settings["inputs"], "no_face": settings.get("no_face")}] if "inputs" in settings else []
