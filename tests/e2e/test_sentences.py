"""What the embedded model makes of 60 sentences, by capability, after CheckList (Ribeiro et al., ACL 2020).

A model is right where its answer is one of those that a reader would take, or where it is not sure; for negation,
where it does not name what is denied. How many sentences of a capability must be right stands beside it.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

import maeum
from maeum.analysis.recognizer import Recognizer

CONTRASTS = Path(__file__).resolve().parents[2] / "scripts" / "contrasts"

#: Sentence, and the label that it denies.
NEGATION = [
    ("I am not happy about this.", "happiness"),
    ("That did not make me happy.", "happiness"),
    ("This is not funny.", "happiness"),
    ("I can't say that I enjoyed the film.", "happiness"),
    ("I don't love this anymore.", "happiness"),
    ("No, I did not like the gift.", "happiness"),
    ("She is far from happy.", "happiness"),
    ("There was no joy in it.", "happiness"),
    ("I'm not mournful at all.", "sadness"),
    ("I never cried over him.", "sadness"),
    ("There is nothing to be cranky about.", "anger"),
    ("He wasn't ticked off with her.", "anger"),
    ("I was never fearful of the dark.", "fear"),
    ("Nobody was spooked.", "fear"),
    ("It isn't yucky, try it.", "disgust"),
    ("I am not flabbergasted.", "surprise"),
]
#: Sentence, and the labels that a reader would take.
PLAIN = [
    ("I am so happy for you!", {"happiness"}),
    ("Thank you, this made my day.", {"happiness"}),
    ("I miss her every single day.", {"sadness"}),
    ("My grandfather died last night.", {"sadness"}),
    ("Get out of my house right now, you liar!", {"anger"}),
    ("How dare you talk to me like that.", {"anger"}),
    ("I'm terrified of what comes next.", {"fear"}),
    ("That smell makes me sick.", {"disgust"}),
    ("Wow, I did not expect that!", {"surprise", "happiness"}),
    ("The meeting starts at ten.", {"neutral"}),
]
QUESTIONS = [
    ("What time does the train leave?", {"neutral", "surprise"}),
    ("Where did you put the keys?", {"neutral", "surprise"}),
    ("Are you coming to the meeting on Monday?", {"neutral", "surprise"}),
    ("Why are you always so mean to me?", {"anger", "sadness", "surprise"}),
    ("Isn't that wonderful?", {"happiness", "surprise"}),
    ("What if they never come back?", {"fear", "sadness", "surprise"}),
    ("Who would eat something so disgusting?", {"disgust", "surprise", "anger"}),
    ("Did you really win?", {"surprise", "happiness"}),
]
#: The same feeling, said stronger: the probability of the label must not fall by more than 0.1.
INTENSIFIERS = [
    ("I am happy.", "I am really happy.", "happiness"),
    ("I am sad.", "I am deeply sad.", "sadness"),
    ("I am angry.", "I am absolutely furious.", "anger"),
    ("I am scared.", "I am scared to death.", "fear"),
    ("This is disgusting.", "This is utterly disgusting.", "disgust"),
    ("That is surprising.", "That is really surprising!", "surprise"),
    ("I love it.", "I love it so much!", "happiness"),
    ("He hurt me.", "He hurt me so very badly.", "sadness"),
]
#: Names that must not change the answer, put in the place of NAME.
NAMES = ("Emily", "Mohammed", "Lakisha", "Wei")
NAMED = [
    "NAME is furious with me.",
    "I am going to the cinema with NAME.",
    "NAME passed away yesterday.",
    "NAME gave me the best birthday ever!",
    "I am afraid of NAME.",
    "NAME never says hello.",
    "NAME works in the office next door.",
    "I am so proud of NAME.",
]
#: Marked as sarcasm, meant otherwise than it says. What becomes of them is measured, and nothing is promised.
SARCASM = [
    "Oh great, another Monday. /s",
    "What a wonderful idea, let's lose even more money. /s",
    "I just love waiting in line for three hours. /s",
    "Thanks for ruining my birthday, best friend ever. /s",
    "Fantastic, the train is late again. /s",
    "Sure, because that worked so well last time. /s",
    "Wow, you are a real genius. /s",
    "Nothing better than a cold shower in winter. /s",
    "I'm thrilled to work on Christmas. /s",
    "How lovely of you to forget me. /s",
]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return maeum.load(modalities=["text"])


def test_there_are_sixty_sentences() -> None:
    assert sum(map(len, (NEGATION, PLAIN, QUESTIONS, INTENSIFIERS, NAMED, SARCASM))) == 60


def test_none_of_them_was_trained_on(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(CONTRASTS), str(tmp_path)], check=True, capture_output=True)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        made = {row["text"].rstrip(".!?").lower() for row in csv.DictReader(file)}
    assert len(made) > 4000
    ours = (
        [text for text, _ in (*NEGATION, *PLAIN, *QUESTIONS)] + [s for row in INTENSIFIERS for s in row[:2]] + SARCASM
    )
    assert not {text.rstrip(".!?").lower() for text in ours} & made


def test_negation(recognizer: Recognizer) -> None:
    wrong = [text for text, denied in NEGATION if recognizer.predict(text=text).label == denied]
    assert len(wrong) <= 0.2 * len(NEGATION), wrong


@pytest.mark.parametrize(("sentences", "share"), [(PLAIN, 0.9), (QUESTIONS, 0.75)], ids=["plain", "questions"])
def test_what_a_reader_would_take(recognizer: Recognizer, sentences: list[tuple[str, set[str]]], share: float) -> None:
    answers = [(text, recognizer.predict(text=text).label, expected) for text, expected in sentences]
    wrong = [(text, label) for text, label, expected in answers if label is not None and label not in expected]
    assert len(wrong) <= (1 - share) * len(sentences) + 1e-9, wrong


def test_intensifiers(recognizer: Recognizer) -> None:
    weaker = [
        strong
        for plain, strong, label in INTENSIFIERS
        if recognizer.predict(text=strong).probs[label] < recognizer.predict(text=plain).probs[label] - 0.1
    ]
    assert len(weaker) <= 1, weaker


def test_names_change_nothing(recognizer: Recognizer) -> None:
    changed = [
        text
        for text in NAMED
        if len({max(p := recognizer.predict(text=text.replace("NAME", name)).probs, key=p.__getitem__)
                for name in NAMES}) > 1
    ]  # fmt: skip
    assert len(changed) <= 1, changed
