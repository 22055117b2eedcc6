"""The same in other words: texts translated into another language and back."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from maeum.config import Config
from maeum.models.encoders.hub import fetch


class TranslationConfig(Config):
    """One translation model of a back-translation."""

    model: str
    """Name on the hub, or folder."""
    source: str | None = None
    """The language it reads, for models that know many (NLLB: ``eng_Latn``)."""
    target: str | None = None
    """The language it writes, for models that know many (NLLB: ``fra_Latn``)."""


_Share = Annotated[float, Field(ge=0, le=100)]


class BackTranslation(Config):
    """How texts are paraphrased (the published MMER: NLLB-600M, English to French and back, 5 samples)."""

    kind: Literal["translation"] = "translation"
    """Which paraphrases: these; may be left out."""
    to_pivot: TranslationConfig
    """The translation into another language, the pivot."""
    from_pivot: TranslationConfig
    """The translation back from it."""
    samples: int = Field(default=5, ge=1, le=1000)
    """Paraphrases that are drawn, of which one is taken."""
    temperature: float = Field(default=1.0, ge=0, le=100)
    """Temperature of the draw; 0 takes the most probable paraphrases (beams)."""
    least_alike: float = Field(default=0.3, ge=0, le=1)
    """How alike a paraphrase and its text have to be, as the share of equal stretches of characters (Ratcliff and
    Obershelp 1988); one that has nothing in common means something else."""
    most_alike: float = Field(default=0.95, ge=0, le=1)
    """How alike they may be; an equal one adds nothing."""
    length: tuple[_Share, _Share] = (0.5, 2.0)
    """Least and greatest number of its words, relative to the text's."""
    max_tokens: int = Field(default=128, ge=1, le=65_536)
    """Tokens of a translation at most."""


class Paraphraser:
    """Paraphrases one text after the other, each drawn from a state of its own.

    Raises:
        ModelError: when a model cannot be had.
    """

    def __init__(self, config: BackTranslation, device: str = "cpu") -> None:
        self.config = config
        self._to_pivot = _Translator(config.to_pivot, config, device)
        self._from_pivot = _Translator(config.from_pivot, config, device)

    def __call__(self, text: str, seed: int) -> str | None:
        """Another wording, or None where none of the samples passes the filter."""
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        try:
            pivots = self._to_pivot([text], self.config.samples)
            paraphrases = self._from_pivot(pivots, 1)
        finally:
            torch.set_rng_state(state)
        return choose(text, paraphrases, self.config)


def choose(text: str, paraphrases: Sequence[str], config: BackTranslation) -> str | None:
    """The paraphrase that is least like the text among those that pass; None when none does."""
    words = len(text.split())
    passed = []
    for candidate in dict.fromkeys(" ".join(p.split()) for p in paraphrases):
        alike = difflib.SequenceMatcher(None, text.lower(), candidate.lower(), autojunk=False).ratio()
        low, high = (share * words for share in config.length)
        if config.least_alike <= alike <= config.most_alike and low <= len(candidate.split()) <= high:
            passed.append((alike, candidate))
    return min(passed)[1] if passed else None


class _Translator:
    def __init__(self, translation: TranslationConfig, config: BackTranslation, device: str) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer  # takes a second

        def get(local: bool) -> tuple[Any, Any]:
            languages = {"src_lang": translation.source, "tgt_lang": translation.target}
            known = {name: code for name, code in languages.items() if code is not None}
            tokenizer = AutoTokenizer.from_pretrained(translation.model, local_files_only=local, **known)
            model = AutoModelForSeq2SeqLM.from_pretrained(
                translation.model, local_files_only=local, dtype=torch.float32
            )
            return tokenizer, model

        self._tokenizer, model = fetch(translation.model, "translation model", get)
        self._model = model.to(device).eval()
        self._config, self._device = config, device
        self._first = {}
        if translation.target is not None:
            self._first = {"forced_bos_token_id": self._tokenizer.convert_tokens_to_ids(translation.target)}

    @torch.inference_mode()
    def __call__(self, texts: list[str], samples: int) -> list[str]:
        given = self._tokenizer(texts, return_tensors="pt", padding=True, truncation=True).to(self._device)
        drawn: dict[str, Any] = {"do_sample": False, "num_beams": max(1, samples)}
        if self._config.temperature > 0 and samples > 1:
            drawn = {"do_sample": True, "num_beams": 1, "temperature": self._config.temperature}
        made = self._model.generate(
            **given, **drawn, **self._first, num_return_sequences=samples, max_new_tokens=self._config.max_tokens
        )
        texts_made: list[str] = self._tokenizer.batch_decode(made, skip_special_tokens=True)
        return texts_made
