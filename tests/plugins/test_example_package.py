"""A package that adds to every table, installed beside maeum and used in every command; and one that is broken."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maeum.cli.app import app
from maeum.reports.inventory import TABLES
from margins import Margin

PACKAGE = Path(__file__).parents[1] / "third_party"
DEMO = Path(__file__).parents[2] / "examples" / "demo.mp4"
WORDS = {"calm": "the lake lies still", "glad": "what a lovely day", "tense": "they never answer me"}


def install(project: Path, site: Path) -> None:
    """What ``pip install --target`` puts into a folder: the package, and its entry points in a ``.dist-info``."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    for folder in project.glob("*/__init__.py"):
        shutil.copytree(folder.parent, site / folder.parent.name, ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"{settings['name'].replace('-', '_')}-{settings['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {settings['name']}\nVersion: {settings['version']}\n")
    groups = settings["entry-points"].items()
    lines = [line for group, names in groups for line in (f"[{group}]", *(f"{n} = {v}" for n, v in names.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], None]]:
    """Installs packages for the tests of this module; afterwards the tables are as they were."""
    site = tmp_path_factory.mktemp("site")
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        for table in TABLES:
            patch.setattr(table, "_table", dict(table._table))
            patch.setattr(table, "_plugins", None)

        def put(project: Path) -> None:
            install(project, site)
            for table in TABLES:
                table._plugins = None

        yield put
    for name in set(sys.modules) - modules:
        if name.startswith(("maeum_example", "maeum_broken")):
            del sys.modules[name]


def maeum(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, installed: Callable[[Path], None]) -> Path:
    """The package installed; a diary, a recipe, and settings for calibrate and compare."""
    installed(PACKAGE)
    folder = tmp_path_factory.mktemp("work")
    (folder / "diary").mkdir()
    for part, writers in (("train", "abcdef"), ("dev", "gh"), ("test", "ij")):
        lines = [f"{w}\t{label}\t{words} {w} {i}" for w in writers for i in range(2) for label, words in WORDS.items()]
        (folder / "diary" / f"{part}.txt").write_text("\n".join([*lines, f"{writers[0]}\t\tnothing said"]) + "\n")
    data = [{"store": str(folder / "store")}]
    recipe = {
        "name": "mine", "model": "word-mean", "network": {"vocabulary": 60, "width": 16}, "train": data, "dev": data,
        "tokenizer": {"kind": "small", "vocabulary": 60}, "score": "worst_recall",
        "training": {"epochs": 30, "batch_size": 12, "lr": 0.05, "schedule": "constant", "warmup": 0.0,
                     "loss": "cross-entropy", "patience": None,
                     "losses": {"confidence-penalty": {"weight": 0.05, "tolerated": 0.5}}},
    }  # fmt: skip
    finish = {"name": "done", "title": "Done", "model": str(folder / "run" / "model"), "dev": data,
              "trained_on": [str(folder / "store")], "intended_use": "tests", "limits": "three sentences"}  # fmt: skip
    shared = {k: recipe[k] for k in ("train", "dev", "tokenizer", "network")}
    shared["split"] = {"kind": "by-initial", "dev_from": "g", "test_from": "i"}
    comparison = {"name": "both", "title": "Both", "metrics": ["worst_recall", "uar"],
                  "shared": {**shared, "training": {**recipe["training"], "epochs": 1}},
                  "entries": {"a": {"title": "narrow", "model": "word-mean", "network": {"width": 4}},
                              "b": {"title": "wide", "model": "word-mean"}}}  # fmt: skip
    for name, settings in (("recipe", recipe), ("finish", finish), ("comparison", comparison)):
        (folder / f"{name}.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.trains
def test_a_package_of_one_file_an_idea_is_used_in_every_command(work: Path, margin: Margin) -> None:
    prepared = maeum("prepare", "diary", "--source", work / "diary", "--store", work / "store")
    assert "60 of 63 items used" in prepared.output
    assert "has no label" in prepared.output

    maeum("train", work / "recipe.json", "--out", work / "run")
    log = [json.loads(line) for line in (work / "run" / "log.jsonl").read_text().splitlines()]
    assert all(line["score"] == line["worst_recall"] for line in log)
    assert log[-1]["loss_confidence"] > 0

    maeum("evaluate", work / "store", "--model", work / "run" / "model", "--part", "test", "--out", work / "s.json")
    scores = json.loads((work / "s.json").read_text())
    margin("worst recall on test", scores["scores"]["worst_recall"]["value"], above=0.6)

    maeum("report", work / "store", "--model", work / "run" / "model", "--out", work / "page")
    assert "worst_recall" in (work / "page" / "report.html").read_text()

    maeum("calibrate", work / "finish.json", "--out", work / "done")
    card = json.loads((work / "done" / "card.json").read_text())
    assert "Diaries" in str(card["data"])

    maeum("compare", work / "comparison.json", "--out", work / "runs", "--page", work / "comparison.md")
    assert "worst recall" in (work / "comparison.md").read_text()

    used = maeum("analyse", DEMO, "--transcript", DEMO.with_suffix(".srt"), "--model", work / "done",
                 "--out", work / "out", "--format", "vtt,json")  # fmt: skip
    lines = (work / "out" / "demo.vtt").read_text().splitlines()
    assert lines[0] == "WEBVTT"
    assert {line for line in lines if line in WORDS}, used.output
    maeum("analyse", DEMO, "--asr", "hum", "--model", work / "done", "--out", work / "heard", "--format", "json")
    heard = json.loads((work / "heard" / "demo.json").read_text())
    assert heard["recognizer"] == "hum"
    assert {word["text"] for segment in heard["segments"] for word in segment["words"]} == {"hm"}


def test_doctor_lists_what_the_package_adds(work: Path) -> None:
    shown = " ".join(maeum("doctor").output.split())
    for name, kind in (
        ("diary", "corpus"),
        ("word-mean", "network"),
        ("worst_recall", "metric"),
        ("vtt", "format"),
        ("hum", "speech recogniser"),
        ("confidence-penalty", "loss"),
        ("by-initial", "kind of split"),
    ):
        assert f"plug-in {name}" in shown, kind
        assert f"{kind} of maeum-example 1.0" in shown
    asked = CliRunner().invoke(app, ["analyse", str(DEMO), "--format", "xyz"])
    assert "Known: csv, html, json, srt, vtt" in str(asked.exception)


def test_a_broken_package_stops_only_who_asks_for_it(
    work: Path, installed: Callable[[Path], None], tmp_path: Path, small_model: Path
) -> None:
    broken = tmp_path / "broken"
    (broken / "maeum_broken").mkdir(parents=True)
    (broken / "maeum_broken" / "__init__.py").write_text("import a_module_that_nobody_has\n")
    groups = "\n".join(f'[project.entry-points."{t.group}"]\nbroken = "maeum_broken:thing"' for t in TABLES)
    (broken / "pyproject.toml").write_text(f'[project]\nname = "maeum-broken"\nversion = "0.1"\n{groups}\n')
    installed(broken)
    shown = " ".join(maeum("doctor").output.split())
    assert shown.count("plug-in broken") == len(TABLES)
    assert (
        "of maeum-broken 0.1, cannot be used: ModuleNotFoundError: No module named 'a_module_that_nobody_has'" in shown
    )
    maeum("analyse", DEMO, "--model", small_model, "--out", tmp_path / "out", "--format", "json,vtt")
    assert (tmp_path / "out" / "demo.json").is_file()
    asked = CliRunner().invoke(app, ["analyse", str(DEMO), "--format", "broken"])
    assert asked.exit_code != 0
    assert "the plug-in maeum-broken 0.1 that provides it could not be loaded" in str(asked.exception)
