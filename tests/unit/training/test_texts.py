from __future__ import annotations

from maeum.training.texts import roughen, roughening

TEXTS = [f"Well, I don't know {n}!" for n in range(400)]


def test_share_of_texts_loses_its_signs() -> None:
    assert [roughen(t, 0.0) for t in TEXTS] == TEXTS
    assert all("," not in t and "!" not in t for t in (roughen(t, 1.0) for t in TEXTS))
    changed = sum(roughen(t, 0.3) != t for t in TEXTS)
    assert 80 < changed < 160
    assert 140 < sum("don't" in roughen(t, 1.0) for t in TEXTS) < 260


def test_draw_depends_on_text_and_seed_alone() -> None:
    first = [roughen(t, 0.5, seed=1) for t in TEXTS]
    assert first == [roughen(t, 0.5, seed=1) for t in TEXTS]
    assert first != [roughen(t, 0.5, seed=2) for t in TEXTS]


def test_placeholders_stay_and_signs_alone_stay() -> None:
    assert roughen("[NAME], come!", 1.0) == "[NAME]  come"
    assert roughen("?!", 1.0) == "?!"


def test_roughening_wraps_a_tokenizer() -> None:
    rough = roughening(lambda texts: [[len(t)] for t in texts], 1.0, seed=0)
    assert rough(["a!!!"]) == [[1]]
