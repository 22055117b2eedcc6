from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BertTokenizerFast

from maeum.errors import ModelError
from maeum.models.encoders.tokenizer import (
    HubTokenizer,
    SmallTokenizer,
    WordPieceTokenizer,
    load_tokenizer,
    normalise,
    train_tokenizer,
)

SUBJECTS = ("i", "you", "we", "they", "[NAME]", "the dog", "my friend", "nobody")
VERBS = ("love", "hate", "fear", "miss", "don\u2019t like", "enjoyed", "broke", "found")
ENDS = ("it!", "this 😂", "that...", "all of you ❤️", "the house.", "soooo much", "him?", "her, really")
TEXTS = [f"{s} {v} {e}" for s in SUBJECTS for v in VERBS for e in ENDS]


@pytest.fixture(scope="module")
def small() -> SmallTokenizer:
    return train_tokenizer(TEXTS, vocabulary=200)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "happy", "sad", "i", "am"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(str(folder / "saved"))
    return folder / "saved"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I\u2019m SO “glad”", 'i\'m so "glad"'),
        ("soooooo good", "soo good"),
        ("What?!?! NO!!!!!!", "what?!?! no!!!"),
        ("see https://example.org/x?y=1 now", "see now"),
        ("fish &amp; chips", "fish & chips"),
        ("ok 👍🏽 ❤️", "ok 👍 ❤"),
        ("10000 years", "10000 years"),
        (" \n\t ", ""),
        ("⠀⣿⣿", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected


def test_small_ids_are_in_range_and_never_padding(small: SmallTokenizer) -> None:
    rows = small(TEXTS)
    assert all(0 < i < small.vocabulary_size for row in rows for i in row)
    assert small.pad_id == 0


def test_small_gives_nothing_for_a_text_without_words(small: SmallTokenizer) -> None:
    assert small(["", "   ", "\u200b", "i love it"])[:3] == [[], [], []]
    assert small([]) == []


def test_small_reads_capitals_quotes_and_stretched_words_alike(small: SmallTokenizer) -> None:
    assert small(["I DON'T LIKE IT!"]) == small(["i don\u2019t like it!"])
    assert small(["soooooooo much"]) == small(["soooo much"])


def test_placeholders_and_emoji_are_pieces(small: SmallTokenizer) -> None:
    pieces = small.pieces("[NAME] hate this 😂")
    assert "[name]" in pieces
    assert pieces[-1].endswith("😂")
    unknown = 1
    assert unknown not in small(["[NAME] hate this 😂 ❤️"])[0]


def test_unknown_script_is_unknown_not_an_error(small: SmallTokenizer) -> None:
    assert small(["마음"])[0][-1] == 1


def test_training_twice_gives_the_same_tokenizer(small: SmallTokenizer) -> None:
    again = train_tokenizer(TEXTS, vocabulary=200)
    assert again(TEXTS) == small(TEXTS)


def test_training_on_nothing_is_an_error() -> None:
    with pytest.raises(ModelError, match="no text"):
        train_tokenizer(["", "  "])


def test_small_saves_and_loads(small: SmallTokenizer, tmp_path: Path) -> None:
    small.save(tmp_path / "new")
    loaded = load_tokenizer(tmp_path / "new")
    assert isinstance(loaded, SmallTokenizer)
    assert loaded(TEXTS) == small(TEXTS)
    assert (tmp_path / "new" / "tokenizer.spm").stat().st_size < 300_000


@pytest.mark.parametrize("kind", ["small", "hub"])
def test_a_save_that_fails_leaves_the_tokenizer_that_was_there(
    kind: str, small: SmallTokenizer, bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = small if kind == "small" else HubTokenizer(bert_folder)
    tokenizer.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match="cannot be written: No space left on device"):
        tokenizer.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot be written"):
        tokenizer.save(tmp_path / "file")


def test_an_unusable_temporary_folder_is_named(
    bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(
        ModelError, match=r"new: cannot be written by way of the temporary folder: No such file .*TMPDIR"
    ):
        HubTokenizer(bert_folder).save(tmp_path / "new")


def test_a_damaged_small_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.spm").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"tokenizer\.spm"):
        load_tokenizer(tmp_path)


def test_hub_tokenizer_from_a_folder(bert_folder: Path, tmp_path: Path) -> None:
    tokenizer = HubTokenizer(bert_folder)
    assert tokenizer(["I am happy", "", "sad"]) == [[2, 7, 8, 5, 3], [], [2, 6, 3]]
    assert (tokenizer.pad_id, tokenizer.vocabulary_size) == (0, 9)
    tokenizer.save(tmp_path / "copy")
    loaded = load_tokenizer(tmp_path / "copy")
    assert loaded.kind == "hub"
    assert loaded(["I am happy"]) == [[2, 7, 8, 5, 3]]


def test_an_empty_folder_is_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no usable tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        load_tokenizer(tmp_path / "missing")


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("I love the dog", 0.0, 0.0),
        ("나는 오늘 정말 행복해요", 1.0, 1.0),
        ("Я так рад", 1.0, 1.0),
        ("I love 나는 오늘", 0.3, 0.6),
        ("?!", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_letters_that_are_in_no_piece_are_counted(small: SmallTokenizer, text: str, least: float, most: float):
    assert least <= small.unread(text) <= most


def test_a_saved_bert_tokenizer_is_read_without_transformers(bert_folder: Path, tmp_path: Path) -> None:
    theirs, own = HubTokenizer(bert_folder), load_tokenizer(bert_folder)
    assert isinstance(own, WordPieceTokenizer)
    texts = ["I am happy", "i am  SAD!", "unknown words", "happy " * 300, "am\u0301"]
    assert own(texts) == theirs(texts), "nothing is cut or filled up"
    assert own(["", "  ", "\u200b"]) == [[], [], []]
    assert (own.pad_id, own.vocabulary_size, own.kind) == (theirs.pad_id, theirs.vocabulary_size, theirs.kind)
    own.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again")(texts) == own(texts)
    (tmp_path / "again" / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        load_tokenizer(tmp_path / "again")


def test_words_of_another_script_are_not_read(fetched: Callable[[str], Path]) -> None:
    tokenizer = WordPieceTokenizer(fetched("minilm"))
    for text in ("I am so happy to see you!", "Un été à la mer, très bien", "sooo goood", "a b", "I like iPhone X"):
        assert tokenizer.unread(text) < 0.5, text
    for text in ("Я очень рад тебя видеть", "나는 정말 행복해요", "我今天很高兴", "أنا سعيد جدا"):
        assert tokenizer.unread(text) > 0.5, text
    assert tokenizer.unread("!!! 123") == 0
