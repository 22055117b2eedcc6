"""The same in other words without a model: paraphrases that somebody wrote, and rules that keep the meaning."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from maeum.config import Config
from maeum.errors import ConfigError
from maeum.files import check_regular
from maeum.settings_text import parse_yaml, read_settings

#: Words before a phrase, in its clause, among which a denial leaves it as it is: "not really like" is no "not truly".
_DENIAL_WORDS = 3
_DENIAL = re.compile(
    r"no|not|never|none|nobody|nothing|nowhere|neither|nor|nope|without|hardly|barely|scarcely|rarely|seldom|cannot"
    r"|\w+n't|(?:do|does|did|is|are|was|were|wo|would|could|should|have|has|had|ca|ai)nt"
)
#: What stays as it is: masks such as [NAME], addresses, names of users and forums, hashtags.
_FIXED = r"\[[^\]]*\]|https?://\S+|www\.\S+|[@#]\w+|/?\b[ru]/\w+"
_WORD = re.compile(r"[\w']+")
#: Letters of an abbreviation in capitals at most.
_ABBREVIATION = 3
_CLAUSE_END = re.compile(r"[.,;:!?\n]")


class PhrasesConfig(Config):
    """Paraphrases without a model."""

    kind: Literal["phrases"] = "phrases"
    """Which paraphrases: these."""
    table: Path | None = None
    """A file of sentences and their paraphrases, of which one is drawn: YAML or JSON (sentence: [paraphrase, ...]), or
    lines of sentence and paraphrases with tabs between them (``.tsv``). Sentences are found whatever their case and
    punctuation."""
    rules: Literal["english"] | None = None
    """Rewrites texts that are not in the table: contractions (``don't``, ``do not``) and words and phrases that mean
    the same, never a word that a denial stands before."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Probability of each place where a rule applies to be rewritten; one always is."""

    @model_validator(mode="after")
    def _has_a_source(self) -> PhrasesConfig:
        if self.table is None and self.rules is None:
            raise ValueError("paraphrases of the kind phrases need a table, or rules: english")
        return self


class Phrases:
    """Paraphrases one text after the other, each drawn from a state of its own.

    Raises:
        ConfigError: when the table cannot be read, or is none.
    """

    def __init__(self, config: PhrasesConfig) -> None:
        self.config = config
        self._table = {} if config.table is None else read_table(config.table)
        self._rules = () if config.rules is None else english_rules()

    @property
    def content(self) -> str:
        """A hash of the table and of the rules."""
        rules = [(r.name, r.pattern.pattern, sorted(r.not_after), sorted(r.not_before)) for r in self._rules]
        parts = [self._table, rules]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=10).hexdigest()

    def __call__(self, text: str, seed: int) -> str | None:
        """Another wording, or None where neither the table nor a rule has one."""
        rng = np.random.default_rng([seed, 1])
        if (known := self._table.get(_normal(text))) is not None:
            return known[int(rng.integers(len(known)))]
        return rewrite(text, self._rules, self.config.share, rng)


def read_table(path: Path) -> dict[str, list[str]]:
    """Normal form of a sentence -> its paraphrases.

    Raises:
        ConfigError: when the file cannot be read, holds something else, or a paraphrase is the sentence itself.
    """
    table: dict[str, list[str]] = {}
    for sentence, paraphrases in _entries(path):
        found = [" ".join(p.split()) for p in paraphrases]
        key = _normal(sentence)
        if not key or not found or not all(map(_normal, found)):
            raise ConfigError(f"{sentence!r} has no paraphrase, or an empty one", item=path)
        if key in table:
            raise ConfigError(f"{sentence!r} is in it twice (case and punctuation do not count)", item=path)
        if same := next((p for p in found if _normal(p) == key), None):
            raise ConfigError(f"{same!r} is no paraphrase, but the sentence itself", item=path)
        table[key] = found
    if not table:
        raise ConfigError("holds no sentences", item=path)
    return table


def _entries(path: Path) -> Iterator[tuple[str, list[str]]]:
    if path.suffix.lower() == ".tsv":
        try:
            check_regular(path, ConfigError)
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", item=path) from error
        for line in filter(str.strip, lines):
            sentence, *paraphrases = line.split("\t")
            yield sentence, [p for p in paraphrases if p.strip()]
        return
    data = read_settings(path)
    if not isinstance(data, dict):
        raise ConfigError("holds no table (sentence: [paraphrase, ...] is expected)", item=path)
    for sentence, paraphrases in data.items():
        if not isinstance(paraphrases, list) or not all(isinstance(p, str) for p in (sentence, *paraphrases)):
            raise ConfigError(f"{sentence!r}: a list of paraphrases, all of them texts, is expected", item=path)
        yield sentence, paraphrases


def _normal(text: str) -> str:
    """A text without case and punctuation."""
    plain = unicodedata.normalize("NFC", text).casefold().replace("'", "").replace("\u2019", "")
    return " ".join(re.sub(r"[^\w\s]|_", " ", plain).split())


@dataclass(frozen=True)
class Rule:
    """One rewriting rule.

    Args:
        name: for tests and the hash: ``kids -> children``.
        pattern: what is rewritten.
        new: its new words, in small letters but for names and "I".
        guarded: whether a denial before it leaves it as it is.
        not_after: words that leave it as it is where they stand before it, in small letters.
        not_before: words that do where they stand after it.
        first: whether it has to begin a clause.
    """

    name: str
    pattern: re.Pattern[str]
    new: str
    guarded: bool = True
    not_after: frozenset[str] = frozenset()
    not_before: frozenset[str] = frozenset()
    first: bool = False


def rewrite(text: str, rules: tuple[Rule, ...], share: float, rng: np.random.Generator) -> str | None:
    """A text in which some of the places where a rule applies are rewritten; None where there is no such place.

    Args:
        text: the text.
        rules: in order of preference: of two that overlap the earlier one is taken.
        share: probability of each place; one always is rewritten.
        rng: what chooses.
    """
    text = text.replace("\u2019", "'")
    fixed = [match.span() for match in re.finditer(_FIXED, text)]
    places: dict[tuple[int, int], list[str]] = {}
    for rule in rules:
        for match in rule.pattern.finditer(text):
            span = match.span()
            free = all(span[1] <= start or end <= span[0] for start, end in (*fixed, *(p for p in places if p != span)))
            if free and not _is_stressed(match[0]) and _applies(rule, text, span):
                places.setdefault(span, []).append(_with_case(match[0], rule.new, text.isupper()))
    if not places:
        return None
    ordered = sorted(places)
    chosen = rng.random(len(ordered)) < share
    chosen[int(rng.integers(len(ordered)))] = True
    made, end = "", 0
    for (start, stop), taken in zip(ordered, chosen.tolist(), strict=True):
        options = places[start, stop]
        made += text[end:start]
        if taken:
            new = options[int(rng.integers(len(options)))]
            made = _with_article(made, new) + new
        else:
            made += text[start:stop]
        end = stop
    return made + text[end:]


def _applies(rule: Rule, text: str, span: tuple[int, int]) -> bool:
    before = _CLAUSE_END.split(text[: span[0]])[-1]
    after = _CLAUSE_END.split(text[span[1] :])[0]
    words_before = [word.lower() for word in _WORD.findall(before)]
    words_after = [word.lower() for word in _WORD.findall(after)]
    if rule.first and words_before:
        return False
    if words_before and words_before[-1] in rule.not_after:
        return False
    if words_after and words_after[0] in rule.not_before:
        return False
    if not rule.guarded:
        return True
    return not any(map(_DENIAL.fullmatch, words_before[-_DENIAL_WORDS:]))


def _is_stressed(words: str) -> bool:
    """Whether one word of several is in capitals: ``is NOT``, which is more than ``isn't``."""
    return not words.isupper() and any(len(word) > 1 and word.isupper() for word in words.split())


def _with_case(old: str, new: str, shouted: bool) -> str:
    """The new words in capital letters, or with one, as the old ones are; an OMG alone is no shouting."""
    if shouted or (old.isupper() and sum(map(str.isalpha, old)) > _ABBREVIATION):
        return new.upper()
    if old[0].isupper() and not re.match(r"I\b", old):
        return new[0].upper() + new[1:]
    return new


def _with_article(before: str, new: str) -> str:
    """What stands before the new words, with ``a`` or ``an`` as they want it."""
    match = re.search(r"\b(a)n?(\s+)$", before, re.IGNORECASE)
    if match is None:
        return before
    n = ("N" if new.isupper() else "n") if new[0].lower() in "aeiou" else ""
    return f"{before[: match.start()]}{match[1]}{n}{match[2]}"


@cache
def english_rules() -> tuple[Rule, ...]:
    """The rules for English: the longer ones first, so that "a lot of people" is one phrase."""
    return (*_phrases(), *_contractions())


def _phrases() -> list[Rule]:
    """Of the file ``english_phrases.yaml``, which says how it is read."""
    rules = []
    for entry in parse_yaml(files("maeum.models.synthesis").joinpath("english_phrases.yaml").read_text("utf-8")):
        after, before = (frozenset(str(entry.get(name, "")).split()) for name in ("not_after", "not_before"))
        for old, new in _directions(entry["swap"]):
            first, old_words, new_words = old.startswith("^"), old.removeprefix("^"), new.removeprefix("^")
            pattern = re.compile(rf"(?<![\w'-]){re.escape(old_words)}(?![\w'-])".replace(r"\ ", r"\s+"), re.IGNORECASE)
            rules.append(Rule(f"{old} -> {new}", pattern, new_words, not_after=after, not_before=before, first=first))
    return sorted(rules, key=lambda rule: -len(rule.pattern.pattern))


def _directions(swap: str) -> list[tuple[str, str]]:
    """``kids <-> children`` in both directions, ``until -> till`` in one."""
    if " <-> " in swap:
        one, other = swap.split(" <-> ")
        return [(one, other), (other, one)]
    one, other = swap.split(" -> ")
    return [(one, other)]


#: A verb with "not" -> both as one word. "Must not" and "may not" are left alone.
_NEGATED = {
    "do not": "don't", "does not": "doesn't", "did not": "didn't", "is not": "isn't", "are not": "aren't",
    "was not": "wasn't", "were not": "weren't", "has not": "hasn't", "have not": "haven't", "had not": "hadn't",
    "will not": "won't", "would not": "wouldn't", "could not": "couldn't", "should not": "shouldn't",
    "cannot": "can't",
}  # fmt: skip
#: In front of these "n't" is no question: "Isn't it" cannot be taken apart, "it isn't" can.
_SUBJECTS = "i|you|he|she|it|we|they|this|that|these|those|there|who|which|people|everyone|everybody"
#: "Don't" before these is a request.
_REQUESTS = "worry|forget|be|let|tell|ask|go|give|make|take|say|touch|stop|try|listen|get|look|talk|waste|bother|expect"
#: After these words "'s" is "is" and never "has", and "that is" is no end of a sentence.
_AFTER_IS = (
    r"a|an|the|my|your|our|their|good|great|nice|okay|ok|fine|fun|funny|hard|easy|true|sad|awful|terrible|horrible|"
    r"amazing|important|hilarious|ridiculous|stupid|crazy|weird|strange|scary|disgusting|annoying|cool|awesome|"
    r"because|about|like|why|how|what"
)
_AFTER_AM = r"a|an|the|not|so|very|really|just|sure|sorry|happy|glad|sad|angry|afraid|proud|still|also|\w{2,}ing"
_AFTER_WILL = r"be|have|never|always|get|go|do|try|take|make|say|give|see|tell|let|just|also|probably|definitely|need"
_AFTER_HAVE = r"been|never|seen|always|got|done|already|made|lost|found|known|tried|learned|noticed|ever"
_AFTER_WOULD = r"like|love|say|rather|be|prefer|never|hate"


def _contractions() -> list[Rule]:
    rules: list[Rule] = []

    def add(name: str, pattern: str, new: str) -> None:
        compiled = re.compile(pattern, re.IGNORECASE)
        rules.append(Rule(name, compiled, new, guarded=False))

    for long, short in _NEGATED.items():
        words = long.replace(" ", r"\s+")
        followed = r"(?=\s+(?!(?:but|only|help|i|you|he|she|it|we|they)\b)\w|\s*[.!?,]|$)"
        add(f"{long} -> {short}", rf"(?<![\w'-]){words}{followed}", short)
        for subject in _SUBJECTS.split("|"):  # a look behind has one width
            add(f"{subject} {short} -> {long}",
                rf"(?<=(?<![\w'-]){subject} ){short}(?![\w'-])(?!\s+(?:i|you|he|she|it|we|they)\b)", long)  # fmt: skip
    add("don't worry -> do not worry", rf"(?:(?<=^)|(?<=[.!?] ))don't(?=\s+(?:{_REQUESTS})\b)", "do not")
    for pronoun, be in {"I": "am", "you": "are", "we": "are", "they": "are"}.items():
        short = {"am": "'m", "are": "'re"}[be]
        add(f"{pronoun}{short}", rf"(?<![\w'-]){pronoun}{short}(?![\w'-])", f"{pronoun} {be}")
        add(f"{pronoun} {be}", rf"(?<![\w'-]){pronoun}\s+{be}(?=\s+(?:{_AFTER_AM})\b)", f"{pronoun}{short}")
    for pronoun in ("it", "he", "she", "that", "there"):
        add(f"{pronoun}'s", rf"(?<![\w'-]){pronoun}'s(?=\s+(?:{_AFTER_IS})\b)", f"{pronoun} is")
        add(f"{pronoun} is", rf"(?<![\w'-]){pronoun}\s+is(?=\s+(?:{_AFTER_IS}|not)\b)", f"{pronoun}'s")
    for pronoun in ("I", "you", "he", "she", "we", "they"):
        add(f"{pronoun}'ll", rf"(?<![\w'-]){pronoun}'ll(?=\s+\w)", f"{pronoun} will")
        add(f"{pronoun} will", rf"(?<![\w'-]){pronoun}\s+will(?=\s+(?:{_AFTER_WILL})\b)", f"{pronoun}'ll")
        add(f"{pronoun}'d", rf"(?<![\w'-]){pronoun}'d(?=\s+(?:{_AFTER_WOULD})\b)", f"{pronoun} would")
        add(f"{pronoun} would", rf"(?<![\w'-]){pronoun}\s+would(?=\s+(?:{_AFTER_WOULD})\b)", f"{pronoun}'d")
    for pronoun in ("I", "you", "we", "they"):
        add(f"{pronoun}'ve", rf"(?<![\w'-]){pronoun}'ve(?=\s+\w)", f"{pronoun} have")
        add(f"{pronoun} have", rf"(?<![\w'-]){pronoun}\s+have(?=\s+(?:{_AFTER_HAVE})\b)", f"{pronoun}'ve")
    return rules


__all__ = ["Phrases", "PhrasesConfig", "Rule", "english_rules", "read_table", "rewrite"]
