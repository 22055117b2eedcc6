"""What was fitted to a model, in words."""

from __future__ import annotations

import pytest

from maeum.models.calibration import Coverage


@pytest.mark.parametrize(("share", "shown"), [(0.9, "90%"), (0.999, "99.9%"), (0.995, "99.5%"), (0.57, "57%")])
def test_a_coverage_is_never_said_to_be_certain(share: float, shown: str) -> None:
    coverage = Coverage(share=share, thresholds={"text": 0.1}, new_people=False, data="mine, 999 clips")
    assert coverage.percent == shown
    assert f"of {shown} of new clips of the same people" in coverage.note
