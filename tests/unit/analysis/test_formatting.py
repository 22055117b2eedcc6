"""Times, values and shares as texts."""

from __future__ import annotations

from maeum.analysis.formatting import format_percent, format_time, format_value


def test_a_value_has_the_digits_that_its_scale_deserves():
    shown = [
        format_value(value, ends) for value, ends in ((3.87, (1, 7)), (-0.04, (-1, 1)), (42.4, (0, 100)), (2, (0, 3)))
    ]
    assert shown == ["3.9", "0.0", "42", "2.0"]


def test_nothing_is_certain():
    assert [format_percent(p) for p in (1.0, 0.9951, 0.994, 0.5, 0.005, 0.0049, 0.0)] == [
        ">99%", ">99%", "99%", "50%", "<1%", "<1%", "<1%",
    ]  # fmt: skip


def test_times_in_words():
    assert [format_time(s) for s in (0, 59.96, 61.25, 3723.4)] == ["0:00.0", "1:00.0", "1:01.2", "1:02:03.4"]
    assert format_time(3723.4567, srt=True) == "01:02:03,457"
