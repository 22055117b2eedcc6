"""Documentation that is read by people: names of files exist, examples are the tested ones, prose is broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests" / "third_party"
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/adr/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
WIDTH = 100


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`([\w/.]+(?:\.py|/))`", text))
    assert len(named) > 50
    source = ROOT / "src" / "maeum"
    roots = (ROOT, source, *(folder for folder in source.iterdir() if folder.is_dir()))
    missing = [name for name in named if not any((root / name).exists() for root in roots)]
    assert not missing


def test_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {p.parent.name for p in (ROOT / "src" / "maeum").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `(\w+)/`", text, re.MULTILINE))


def test_every_room_has_a_page_in_the_api_reference() -> None:
    rooms = {p.parent.name for p in (ROOT / "src" / "maeum").glob("*/__init__.py")} - {"cli", "native"}
    assert rooms <= {p.stem for p in (ROOT / "docs" / "api").glob("*.md")}


def test_extending_shows_exactly_the_example_that_is_tested() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    shown = dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    files = {str(p.relative_to(EXAMPLE)): p.read_text() for p in EXAMPLE.rglob("*") if p.suffix in (".py", ".toml")}
    assert shown == files


def prose(text: str) -> list[str]:
    """Lines that are neither code, nor a table, nor one long word or link."""
    lines, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if not fenced and not line.lstrip().startswith(("|", "<", "![")) and not line.startswith("    "):
            lines.append(line)
    return lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_breaks_at_100_columns(page: Path) -> None:
    long = [line for line in prose(page.read_text()) if len(line) > WIDTH and " " in line.strip().lstrip("-*# ")]
    assert not long


def test_the_code_speaks_the_language_of_the_field() -> None:
    """``said`` and ``heard`` had four meanings: the field has words for them (docs/glossary.md)."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.j2")]
    assert [str(p) for p in files if re.search(r"\b(said|heard)\b", p.read_text(encoding="utf-8"))] == []
