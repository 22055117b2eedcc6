"""Words into token ids: a small sentencepiece model trained on the corpus at hand, or a Hugging Face tokenizer."""

from __future__ import annotations

import html
import io
import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import sentencepiece
import tokenizers

from maeum.errors import ModelError
from maeum.files import read_mapping, write_error, write_whole
from maeum.models.encoders.hub import fetch, place
from maeum.wording import first_line

#: What stands in texts for something removed from them (GoEmotions); each is one piece.
PLACEHOLDERS = ("[name]", "[religion]")
#: An emoji or another sign outside the letters is a piece of its own from so many occurrences on.
SIGN_COUNT = 3

_QUOTES = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u00b4": "'", "\u0060": "'", "\u201c": '"', "\u201d": '"'}
    | {"\u2026": "...", "\u2013": "-", "\u2014": "-"}
)
_URL = re.compile(r"(?:https?://|www\.)\S+")
#: Braille art, selectors of emoji variants and skin tones, joiners, byte-order marks.
_NOISE = re.compile("[\u2800-\u28ff\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\u200b-\u200f\u2060\ufeff]")
_LONG_LETTERS = re.compile(r"([^\W\d_])\1{2,}")
_LONG_SIGNS = re.compile(r"([^\w\s])\1{2,}")
_SPACES = re.compile(r"\s+")


def normalise(text: str) -> str:
    """The text as the small encoder reads it.

    Lower case (captions may be all capitals, transcripts none), plain quotes, no links, ``sooooo`` as ``soo``,
    ``!!!!!`` as ``!!!``.
    """
    text = unicodedata.normalize("NFKC", html.unescape(text)).translate(_QUOTES)
    text = _URL.sub(" ", _NOISE.sub("", text)).lower()
    text = _LONG_SIGNS.sub(r"\1\1\1", _LONG_LETTERS.sub(r"\1\1", text))
    return _SPACES.sub(" ", text).strip()


class Tokenizer(ABC):
    """Texts to token ids; what a text encoder of the same kind reads."""

    #: ``small`` or ``hub``; names the way back from a folder.
    kind: str

    @abstractmethod
    def __call__(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included; none at all for a text without words."""

    def unread(self, text: str) -> float:
        """Share of the text's letters that are in no piece it knows, 0..1: another script, most of all."""
        return 0.0

    @property
    @abstractmethod
    def pad_id(self) -> int:
        """The token that fills up."""

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """One more than the largest id."""

    @abstractmethod
    def save(self, folder: Path | str) -> None:
        """Write everything that `load_tokenizer` needs into the folder; raises ModelError where that cannot be done."""


class SmallTokenizer(Tokenizer):
    """Unigram pieces (Kudo 2018) of normalised text.

    Args:
        model: a serialised sentencepiece model with id 0 as padding, as `train_tokenizer` makes it.

    Raises:
        ModelError: when it is none.
    """

    kind = "small"
    file = "tokenizer.spm"

    def __init__(self, model: bytes) -> None:
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, OSError) as error:
            raise ModelError("is damaged: no model of sentencepiece", item=self.file) from error

    def __call__(self, texts: list[str]) -> list[list[int]]:
        """See `Tokenizer`; there are no special tokens."""
        ids: list[list[int]] = self._processor.Encode([normalise(text) for text in texts])
        return ids

    def unread(self, text: str) -> float:
        """See `Tokenizer`."""
        unknown = self._processor.unk_id()
        letters = [
            (sum(map(str.isalpha, piece)), self._processor.PieceToId(piece) == unknown) for piece in self.pieces(text)
        ]
        return sum(n for n, is_unknown in letters if is_unknown) / max(1, sum(n for n, _ in letters))

    def pieces(self, text: str) -> list[str]:
        """The text's pieces as strings, for people to look at."""
        pieces: list[str] = self._processor.EncodeAsPieces(normalise(text))
        return pieces

    @property
    def pad_id(self) -> int:
        """See `Tokenizer`."""
        return int(self._processor.pad_id())

    @property
    def vocabulary_size(self) -> int:
        """See `Tokenizer`."""
        return int(self._processor.GetPieceSize())

    def save(self, folder: Path | str) -> None:
        """See `Tokenizer`; writes ``tokenizer.spm``."""
        _write(Path(folder) / self.file, self.model)

    @classmethod
    def load(cls, folder: Path | str) -> SmallTokenizer:
        """Read what `save` wrote; raises ModelError."""
        path = Path(folder) / cls.file
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise ModelError(f"cannot be read ({error.strerror})", item=path) from error
        except ModelError as error:
            raise ModelError(error.problem, item=path, remedy="Fetch or copy the model folder again.") from error


def train_tokenizer(texts: Iterable[str], vocabulary: int = 8000) -> SmallTokenizer:
    """Train the small tokenizer; the same texts give the same tokenizer.

    Args:
        texts: the training part's texts, and nobody else's.
        vocabulary: how many pieces; fewer where the texts do not hold so many.

    Raises:
        ModelError: when the texts hold no words.
    """
    lines = [line for text in texts if (line := normalise(text))]
    if not lines:
        raise ModelError("there is no text to train a tokenizer on")
    count = Counter("".join(lines))
    signs = sorted(c for c, n in count.items() if n >= SIGN_COUNT and not c.isspace())
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(lines),
            model_writer=written,
            model_type="unigram",
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            required_chars="".join(signs),
            character_coverage=0.999,
            user_defined_symbols=list(PLACEHOLDERS),
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise ModelError(
            f"no tokenizer of {vocabulary} pieces can be trained on these {len(lines)} texts ({error})"
        ) from error
    return SmallTokenizer(written.getvalue())


class HubTokenizer(Tokenizer):
    """A Hugging Face tokenizer.

    Args:
        name: a folder, a name on the hub, or that of fetched weights (`maeum.models.weights`).

    Raises:
        ModelError: when it cannot be had.
    """

    kind = "hub"

    def __init__(self, name: str | Path) -> None:
        from transformers import AutoTokenizer  # takes seconds, and only this tokenizer needs it

        where = place(str(name))
        self._tokenizer = fetch(
            where, "tokenizer", lambda local: AutoTokenizer.from_pretrained(where, local_files_only=local)
        )
        if self._tokenizer.pad_token_id is None:
            raise ModelError("this tokenizer has no padding token, so it belongs to no encoder", item=name)

    def __call__(self, texts: list[str]) -> list[list[int]]:
        """See `Tokenizer`."""
        rows: list[list[int]] = [[] for _ in texts]
        filled = [i for i, text in enumerate(texts) if text.strip()]
        if filled:
            # verbose=False: the collator shortens, so a long text is nothing to warn about.
            encoded = self._tokenizer([texts[i] for i in filled], padding=False, truncation=False, verbose=False)
            for i, ids in zip(filled, encoded["input_ids"], strict=True):
                rows[i] = list(ids)
        return rows

    @property
    def pad_id(self) -> int:
        """See `Tokenizer`."""
        return int(self._tokenizer.pad_token_id)

    @property
    def vocabulary_size(self) -> int:
        """See `Tokenizer`."""
        return len(self._tokenizer)

    def save(self, folder: Path | str) -> None:
        """See `Tokenizer`; writes the files of ``save_pretrained``."""
        try:
            with TemporaryDirectory() as written:
                self._tokenizer.save_pretrained(written)
                for file in Path(written).rglob("*"):
                    if file.is_file():
                        _write(Path(folder) / file.relative_to(written), file.read_bytes())
        except OSError as error:
            raise ModelError(
                f"cannot be written by way of the temporary folder: {error.strerror or error}",
                item=folder,
                remedy="Set TMPDIR to a folder that can be written.",
            ) from error

    @classmethod
    def load(cls, folder: Path | str) -> HubTokenizer:
        """Read what `save` wrote; raises ModelError."""
        if not Path(folder).is_dir():
            raise ModelError("no such folder, so there is no tokenizer", item=folder)
        return cls(folder)


class WordPieceTokenizer(Tokenizer):
    """The tokenizer of a BERT as `HubTokenizer` saves it, read without transformers, which takes seconds to import.

    Args:
        folder: of ``tokenizer.json`` and ``tokenizer_config.json``.

    Raises:
        ModelError: when they cannot be read.
    """

    kind = "hub"
    files = ("tokenizer.json", "tokenizer_config.json")

    def __init__(self, folder: Path) -> None:
        try:
            self._files = {name: (folder / name).read_bytes() for name in self.files}
            self._tokenizer = tokenizers.Tokenizer.from_str(self._files["tokenizer.json"].decode())
            described = json.loads(self._files["tokenizer_config.json"])
            padding, self._unknown = described["pad_token"], str(described.get("unk_token", "[UNK]"))
        except Exception as error:  # the library raises bare exceptions
            raise ModelError(f"is damaged: no tokenizer ({first_line(str(error), type(error).__name__)})",
                             item=folder, remedy="Fetch or copy the model folder again.") from error  # fmt: skip
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        pad_id = self._tokenizer.token_to_id(str(padding))
        if pad_id is None:
            raise ModelError("this tokenizer has no padding token, so it belongs to no encoder", item=folder)
        self._pad_id = pad_id

    @classmethod
    def reads(cls, folder: Path) -> bool:
        """Whether a folder holds such a tokenizer."""
        if not all((folder / name).is_file() for name in cls.files):
            return False
        described = read_mapping(folder / "tokenizer_config.json")
        return described.get("tokenizer_class") == "BertTokenizer" and isinstance(described.get("pad_token"), str)

    def __call__(self, texts: list[str]) -> list[list[int]]:
        """See `Tokenizer`."""
        read = [self._tokenizer.encode(text) for text in texts]
        return [list(one.ids) if any(not special for special in one.special_tokens_mask) else [] for one in read]

    def unread(self, text: str) -> float:
        """See `Tokenizer`: letters in unknown words, and those that words of another script are broken up into."""
        read = self._tokenizer.encode(text, add_special_tokens=False)
        unread = letters = 0
        for piece, (start, end) in zip(read.tokens, read.offsets, strict=True):
            count = sum(map(str.isalpha, text[start:end]))
            single = piece.removeprefix("##")
            broken_up = len(single) == 1 and (piece != single or not single.isascii())
            letters += count
            unread += count if broken_up or piece == self._unknown else 0
        return unread / max(1, letters)

    @property
    def pad_id(self) -> int:
        """See `Tokenizer`."""
        return self._pad_id

    @property
    def vocabulary_size(self) -> int:
        """See `Tokenizer`."""
        return int(self._tokenizer.get_vocab_size())

    def save(self, folder: Path | str) -> None:
        """See `Tokenizer`."""
        for name, content in self._files.items():
            _write(Path(folder) / name, content)


def _write(path: Path, content: bytes) -> None:
    """Write a file in full or not at all, into a folder that is made; raises ModelError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path.parent, error, ModelError) from error
    write_whole(path, content, ModelError)


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """The tokenizer that was saved in a folder, of either kind; raises ModelError."""
    if (Path(folder) / SmallTokenizer.file).exists():
        return SmallTokenizer.load(folder)
    return WordPieceTokenizer(Path(folder)) if WordPieceTokenizer.reads(Path(folder)) else HubTokenizer.load(folder)
