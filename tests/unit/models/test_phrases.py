"""Paraphrases by a table and by rules: the meaning, and what is denied, stays."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maeum.corpora.emodb import _SENTENCES as GERMAN
from maeum.errors import ConfigError
from maeum.models.synthesis.phrases import Phrases, PhrasesConfig, english_rules, read_table, rewrite

TABLE = Path(__file__).parents[3] / "recipes/mmer/phrases.yaml"
DENIAL = re.compile(r"\b(not|never|no|nobody|nothing|cannot)\b|n't\b", re.IGNORECASE)


def variants(text: str, seeds: int = 20) -> set[str]:
    paraphrase = Phrases(PhrasesConfig(rules="english", share=1.0))
    return {made for seed in range(seeds) if (made := paraphrase(text, seed)) is not None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I do not like it", "I don't like it"),
        ("She is not here.", "She isn't here."),
        ("We will not go", "We won't go"),
        ("You cannot be serious", "You can't be serious"),
        ("They have not seen it", "They haven't seen it"),
        ("I am so tired", "I'm so tired"),
        ("It is a shame", "It's a shame"),
        ("I would love that", "I'd love that"),
        ("I WOULD NEVER DO IT", "I'D NEVER DO IT"),
    ],
)
def test_contractions_go_both_ways(one: str, other: str) -> None:
    assert variants(one) == {other}
    assert variants(other) == {one}


@pytest.mark.parametrize(
    "text",
    [
        "Don't you like it?", "Isn't it great?", "Why can't we go?", "Who didn't they ask?",
        "That's who I am.", "It's been a long day", "She's gone home", "He's got a dog", "I'd better go",
        "I do NOT agree", "I do not only sing", "What did she say", "its own house",
    ],
)  # fmt: skip
def test_a_contraction_that_is_something_else_stays(text: str) -> None:
    assert variants(text) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Maybe kids know.", {"Perhaps children know."}),
        ("THE KIDS!", {"THE CHILDREN!"}),
        ("omg", {"oh my god"}),
        ("OMG, look", {"Oh my god, look"}),
        ("What an awesome day", {"What an amazing day"}),
        ("a huge house", {"an enormous house"}),
        ("A huge house", {"An enormous house"}),
        ("A HUGE HOUSE", {"AN ENORMOUS HOUSE"}),
        ("Thanks for that", {"Thank you for that"}),
        ("I\u2019m happy for you", {"I am glad for you"}),
        ("there are a lot of kids", {"there are lots of children"}),
    ],
)
def test_words_that_say_the_same(text: str, expected: set[str]) -> None:
    assert variants(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "I want to thank you for this",  # no "to thanks"
        "quite a lot of it", "an awful lot", "amazing how it works", "a good buy", "next to nothing", "a thank you",
        "[KIDS] and #kids and u/kids and https://kids.org", "kid's", "kids-only",
        "not really good", "it was never awesome", "no kids", "hardly a huge house", "the dont buy it",
    ],
)  # fmt: skip
def test_words_that_are_something_else_here_or_denied_stay(text: str) -> None:
    assert variants(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "I do not like it, maybe.", "I don't like kids", "I am not happy", "I'm not sad, thanks for asking",
        "They were never really good to me", "Nobody cannot do it", "It isn't a terrible film", "No, I didn't buy it",
        "Perhaps I will never find the whole truth", "You won't be scared of anyone", "He is not stupid. He is awful!",
        "I have never been so angry at you", "Nothing is awesome, I guess", "The movie was not good, it was terrible",
    ],
)  # fmt: skip
def test_what_is_denied_is_denied_as_often(text: str) -> None:
    for made in variants(text, 50):
        assert len(DENIAL.findall(made)) == len(DENIAL.findall(text)), made


def test_a_seed_draws_the_same_again_and_seeds_differ() -> None:
    text = "Maybe the kids aren't scared of it, but I'm sure everyone is happy to see a lot of movies."
    paraphrase, again = (Phrases(PhrasesConfig(rules="english")) for _ in range(2))
    made = [paraphrase(text, seed) for seed in range(30)]
    assert made == [again(text, seed) for seed in range(30)]
    assert len(set(made)) > 10
    assert text not in made
    assert paraphrase.content == again.content
    assert paraphrase.content != Phrases(PhrasesConfig(table=TABLE)).content


def test_hash_seeds_of_python_do_not_matter() -> None:
    """The rules' exceptions are sets, whose order differs between processes."""
    code = ("from maeum.models.synthesis.phrases import Phrases, PhrasesConfig as C; "
            "print(Phrases(C(rules='english')).content)")  # fmt: skip
    made = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                       capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(made) == 1


def test_the_share_of_places() -> None:
    text = "kids, " * 200
    rng = np.random.default_rng(0)
    made = rewrite(text, english_rules(), 0.25, rng)
    assert made is not None
    assert 30 <= made.count("children") <= 75
    assert (rewrite(text, english_rules(), 1e-9, rng) or "").count("children") == 1


def test_every_rule_of_the_list_rewrites_its_own_words() -> None:
    """No entry is written in a way that never applies, or hides behind another."""
    phrases = [rule for rule in english_rules() if rule.guarded]
    assert len(phrases) > 150
    for rule in phrases:
        old, new = (part.removeprefix("^") for part in rule.name.split(" -> "))
        made = {rewrite(f"{old} friend", (rule,), 1.0, np.random.default_rng(0))}
        assert made == {f"{new} friend"}, rule.name
        assert not re.match(r"(?i)hour|hono|heir|uni|use|usu|eu", new), f"{new!r}: a or an?"
        assert not DENIAL.search(old), rule.name
        assert not DENIAL.search(new) or new == "I don't know", rule.name
    names = [rule.name.replace("^", "").lower() for rule in phrases]
    assert len(names) == len(set(names)), "an entry is there twice"


def test_the_table_is_found_whatever_case_and_punctuation(tmp_path: Path) -> None:
    paths = {
        "table.yaml": 'Kids are talking.: [Children talk., "They talk."]\nIt\'s him: [It is he]\n',
        "table.json": '{"Kids are talking.": ["Children talk.", "They talk."], "It\'s him": ["It is he"]}',
        "table.tsv": "Kids are talking.\tChildren talk.\tThey talk.\nIt's him\tIt is he\n",
    }
    for name, content in paths.items():
        (tmp_path / name).write_text(content)
        paraphrase = Phrases(PhrasesConfig(table=tmp_path / name))
        assert {paraphrase(" kids ARE talking!", seed) for seed in range(20)} == {"Children talk.", "They talk."}
        assert paraphrase("it\u2019s him?", 0) == "It is he"
        assert paraphrase("Kids are not talking.", 0) is None


def test_the_table_goes_before_the_rules() -> None:
    paraphrase = Phrases(PhrasesConfig(table=TABLE, rules="english"))
    expected = set(read_table(TABLE)["kids are talking by the door"])
    assert {paraphrase("Kids are talking by the door", seed) for seed in range(60)} == expected
    assert paraphrase("kids are eating", 0) == "children are eating"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.yaml", "- a\n", "holds no table"),
        ("t.yaml", "a: b\n", "a list of paraphrases"),
        ("t.yaml", "a: [1]\n", "a list of paraphrases"),
        ("t.yaml", "a: []\n", "has no paraphrase"),
        ("t.yaml", "a: ['...']\n", "has no paraphrase, or an empty one"),
        ("t.yaml", "A b.: [c]\na, b: [d]\n", "twice"),
        ("t.yaml", "a b: [A b!]\n", "the sentence itself"),
        ("t.yaml", "{}\n", "holds no sentences"),
        ("t.tsv", "alone\n", "has no paraphrase"),
        ("t.tsv", "\n", "holds no sentences"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=problem) as error:
        read_table(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_missing_table_and_no_source_are_refused(tmp_path: Path) -> None:
    for name in ("t.yaml", "t.tsv"):
        with pytest.raises(ConfigError, match=name):
            Phrases(PhrasesConfig(table=tmp_path / name))
    with pytest.raises(ConfigError, match="need a table, or rules"):
        PhrasesConfig.parse({"kind": "phrases"})


def test_the_recipes_table_has_the_sentences_of_both_corpora() -> None:
    table = Phrases(PhrasesConfig(table=TABLE))
    for sentence in (*GERMAN.values(), "Kids are talking by the door", "Dogs are sitting by the door"):
        assert len({table(sentence, seed) for seed in range(100)}) >= 4, sentence
    assert len(read_table(TABLE)) == 12
