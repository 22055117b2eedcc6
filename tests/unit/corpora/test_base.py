"""What whoever writes a corpus is shown works as it stands."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maeum.corpora.base import Corpus, LeftOut, named_files
from maeum.corpora.overlaps import Member
from maeum.corpora.splits import Split, Splitter
from maeum.labels import canonical
from maeum.types import Recording, Utterance


def example(doc: str | None) -> str:
    """The code of a docstring's only example: its indented lines."""
    assert doc is not None
    lines = doc.split("::\n", 1)[1].splitlines()
    end = next(i for i, line in enumerate(lines) if line.strip() and not line.startswith(" " * 8))
    return textwrap.dedent("\n".join(lines[:end]))


def test_the_example_of_a_corpus(tmp_path: Path) -> None:
    for name in ("anna_happy_03.wav", "carl_bored_01.wav", "ben_sad_02.wav"):
        (tmp_path / name).write_bytes(b"sound")
    known: dict[str, Any] = {"Corpus": Corpus, "Iterator": Iterator, "LeftOut": LeftOut, "Path": Path,
                             "Recording": Recording, "Utterance": Utterance, "canonical": canonical,
                             "named_files": named_files}  # fmt: skip
    exec(f"from __future__ import annotations\n{example(Corpus.__doc__)}", known)
    first, second, left_out = known["Acted"]().items(tmp_path)
    assert (first.id, first.speaker, first.label, first.part) == ("anna_happy_03", "anna", "happiness", "dev")
    assert (second.label, second.part, second.recording.audio) == ("sadness", "test", tmp_path / "ben_sad_02.wav")
    assert left_out == LeftOut("carl_bored_01", "bored is outside the label set", "train")


def test_the_example_of_a_split() -> None:
    code = f"from collections.abc import Sequence\nfrom typing import Literal\n{example(Splitter.__doc__)}"
    known: dict[str, Any] = {"Splitter": Splitter, "Split": Split, "Member": Member}
    exec(compile(code, "example", "exec", dont_inherit=True), known)
    split = known["EveryThird"]().split([Member(id) for id in "abcd"])
    assert split.parts == {"a": "train", "b": "dev", "c": "test", "d": "train"}
