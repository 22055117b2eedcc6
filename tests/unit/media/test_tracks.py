from __future__ import annotations

import numpy as np
import pytest

from maeum.errors import InputError
from maeum.media.boxes import FaceBox
from maeum.media.tracks import track_faces


def box(x, y, size=50):
    return FaceBox(x, y, x + size, y + size * 1.2)


def ids(tracks):
    return [[time for time, _ in track.boxes] for track in tracks]


def test_two_people_who_move_keep_their_tracks():
    times = [0.0, 0.5, 1.0, 1.5]
    frames = [[box(10 + 12 * i, 20), box(300 - 12 * i, 30)] for i in range(4)]
    frames[1].reverse()
    tracks = track_faces(times, frames)
    assert ids(tracks) == [times, times]
    assert [round(b.left) for _, b in tracks[0].boxes] == [10, 22, 34, 46]
    assert [t.id for t in tracks] == [0, 1]
    assert (tracks[1].start_s, tracks[1].end_s) == (0.0, 1.5)


def test_a_cut_begins_new_tracks():
    tracks = track_faces([0.0, 0.5, 1.0], [[box(10, 10)], [box(400, 50, 120)], [box(402, 50, 118)]])
    assert ids(tracks) == [[0.0], [0.5, 1.0]]


def test_same_place_but_another_size_is_another_face():
    tracks = track_faces([0.0, 0.5], [[box(100, 100, 40)], [box(80, 80, 90)]])
    assert len(tracks) == 2


def test_missed_for_a_moment_and_missed_for_long():
    tracks = track_faces([0.0, 0.5, 1.0, 1.5, 9.0], [[box(10, 10)], [], [], [box(12, 10)], [box(12, 10)]])
    assert ids(tracks) == [[0.0, 1.5], [9.0]]


def test_variable_frame_distances():
    times = np.cumsum([0.0, 0.1, 0.9, 0.02, 1.4]).tolist()
    assert ids(track_faces(times, [[box(10 + 3 * i, 10)] for i in range(5)])) == [times]


def test_nearest_wins():
    tracks = track_faces([0.0, 0.5], [[box(0, 0), box(40, 0)], [box(38, 0)]])
    assert ids(tracks) == [[0.0], [0.0, 0.5]]


def test_every_box_is_in_exactly_one_track():
    rng = np.random.default_rng(0)
    frames = [[box(*rng.uniform(0, 300, 2), rng.uniform(20, 80)) for _ in range(rng.integers(0, 6))] for _ in range(30)]
    tracks = track_faces([0.5 * i for i in range(30)], frames)
    assert sorted(b.edges for t in tracks for _, b in t.boxes) == sorted(b.edges for f in frames for b in f)
    for track in tracks:
        assert len({time for time, _ in track.boxes}) == len(track.boxes)


def test_nothing_gives_nothing_and_bad_times_are_errors():
    assert track_faces([], []) == []
    assert track_faces([0.0, 1.0], [[], []]) == []
    with pytest.raises(InputError, match="2 times for 1 frames"):
        track_faces([0.0, 1.0], [[]])
    with pytest.raises(InputError, match="ascending"):
        track_faces([1.0, 0.0], [[], []])
