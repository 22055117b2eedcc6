"""The tokenizer of a training: of a model that it learns from, of a hub's encoder, or learned from its texts."""

from __future__ import annotations

import shutil
from pathlib import Path

from maeum.data.dataset import ClipDataset
from maeum.errors import ConfigError
from maeum.models.encoders.tokenizer import HubTokenizer, Tokenizer, load_tokenizer, train_tokenizer
from maeum.models.pretrained import load_pretrained
from maeum.runs.recipe import HubTokenizerConfig, Recipe, SmallTokenizerConfig


def make_tokenizer(recipe: Recipe, train_set: ClipDataset, out: Path) -> Tokenizer | None:
    """The tokenizer of a run, from its folder where an earlier start has left it; None without text.

    Raises:
        ConfigError: when the teacher and the text branch that is taken over read different tokens.
    """
    if (out / "tokenizer").is_dir():
        return load_tokenizer(out / "tokenizer")
    inherited = _inherited(recipe, train_set)
    if inherited is not None or recipe.tokenizer is None:
        return inherited
    if isinstance(recipe.tokenizer, HubTokenizerConfig):
        tokenizer: Tokenizer = HubTokenizer(recipe.tokenizer.pretrained)
    else:
        assert isinstance(recipe.tokenizer, SmallTokenizerConfig)
        texts = [text for text in train_set.texts() if text]
        tokenizer = train_tokenizer(texts, recipe.tokenizer.vocabulary)
    unfinished = out / "tokenizer.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    tokenizer.save(unfinished)
    unfinished.replace(out / "tokenizer")
    return tokenizer


def _inherited(recipe: Recipe, train_set: ClipDataset) -> Tokenizer | None:
    """The tokenizer of the teacher and of the text branch that is taken over."""
    folders = (folder for folder in (recipe.teacher, recipe.start_from.get("text")) if folder is not None)
    found = [tokenizer for folder in folders if (tokenizer := load_pretrained(folder).tokenizer) is not None]
    sample = [text for text in train_set.texts() if text][:200]
    if len(found) > 1 and found[0](sample) != found[1](sample):
        raise ConfigError("the teacher reads other tokens than the text branch that is taken over", item=recipe.name)
    return found[0] if found else None
