from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from maeum.errors import InputError
from maeum.media.boxes import FaceBox, iou, suppress
from maeum.media.faces import FaceDetector, centre_crop, crop_face, resize_face
from maeum.media.mtcnn import bodies, integral, proposals
from maeum.media.mtcnn.integral import IntegralImage
from maeum.media.mtcnn.kernels import kernels
from maeum.media.mtcnn.networks import load_networks
from maeum.media.mtcnn.reference import detect_reference
from maeum.media.video import sample_frames
from maeum.native import missing

PUBLISHED = [181.05, 62.16, 267.75, 172.05]  # left, top, right, bottom


@pytest.fixture(scope="module", params=["C++", "PyTorch"])
def arithmetic(request):
    """Both ways to compute: with kernels, and as on a machine without a compiler."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "PyTorch":
            for module in (integral, bodies, proposals):
                patch.setattr(module, "kernels", lambda: None)
        elif kernels() is None:
            pytest.skip(f"no kernels: {missing('cascade')}")
        yield request.param


@pytest.fixture(scope="module")
def detector(arithmetic):
    return FaceDetector()


@pytest.fixture(scope="module")
def networks():
    return load_networks()


def test_reference_finds_the_published_box(astronaut, networks):
    boxes, confidence, landmarks = detect_reference(networks, astronaut)
    np.testing.assert_allclose(boxes, [PUBLISHED], atol=0.05)
    assert confidence[0] > 0.999
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < right_mouth[0]


def test_detector_finds_the_published_box(astronaut, detector):
    ((face,),) = detector.detect([astronaut])
    np.testing.assert_allclose(face.edges, PUBLISHED, atol=1.0)
    assert len(face.landmarks) == 5


def test_fast_equals_reference(astronaut, networks, detector):
    """Also in odd sizes and when the face is cut off by the picture's edge or very small."""
    small = np.asarray(Image.fromarray(astronaut).resize((131, 133)))
    for picture in (astronaut, astronaut[71:, 190:], astronaut[:, :241], small, astronaut[:11, :11]):
        boxes, confidence, landmarks = detect_reference(networks, picture)
        (faces,) = detector.detect([picture])
        assert len(faces) == len(boxes)
        for face, box, score, points in zip(faces, boxes, confidence, landmarks, strict=True):
            np.testing.assert_allclose(face.edges, box, atol=0.01)
            assert face.confidence == pytest.approx(float(score), abs=1e-4)
            np.testing.assert_allclose(face.landmarks, points, atol=0.01)


def test_several_faces_in_several_frames(astronaut, detector):
    face = astronaut[30:230, 130:330]
    wall = np.full((420, 640, 3), 90, np.uint8)
    wall[10:210, 20:220] = face
    wall[210:310, 500:600] = np.asarray(Image.fromarray(face).resize((100, 100)))
    wall[300:360, 300:360] = np.asarray(Image.fromarray(face).resize((60, 60)))  # a face of 26 x 33 px
    faces, none, alone = detector.detect([wall, np.full((100, 100, 3), 90, np.uint8), astronaut])
    assert len(faces) == 3
    assert none == []
    assert len(alone) == 1
    centres = sorted(((f.left + f.right) / 2, (f.top + f.bottom) / 2) for f in faces)
    np.testing.assert_allclose(centres, [(114, 97), (328, 326), (547, 253)], atol=6)


def test_frames_together_are_as_frames_alone(astronaut, detector):
    """What is remembered from the frame before must not change what is found in this one."""
    face = np.asarray(Image.fromarray(astronaut[30:230, 130:330]).resize((90, 90)))
    frames = []
    for x in (20, 20, 60, 180, 180):
        frame = np.full((240, 320, 3), 90, np.uint8)
        frame[60:150, x : x + 90] = face
        frames.append(frame)
    frames += [np.full((240, 320, 3), 90, np.uint8), frames[0], frames[0][:200], frames[2]]
    together = list(detector.detect_stream(frames))
    alone = [detector.detect([frame])[0] for frame in frames]
    assert [len(f) for f in together] == [1, 1, 1, 1, 1, 0, 1, 1, 1]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose([f.edges for f in a], [f.edges for f in b], atol=0.5)


class TestRecordings:
    """`detect_stream` finds at least what the reference finds in each frame by itself."""

    def test_moving_and_growing_face(self, astronaut, networks, detector):
        frames = [_scene(astronaut, [(20 + 20 * i, 40 + 4 * i, 70 + 14 * i)]) for i in range(6)]
        _found_all(frames, networks, detector)

    def test_small_moving_face(self, astronaut, networks, detector):
        """A face of 22 x 28 px shows on the two finest pyramid levels only."""
        frames = [_scene(astronaut, [(30 + 12 * i, 60, 54)]) for i in range(6)]
        assert _found_all(frames, networks, detector) == 6

    @pytest.mark.parametrize(("side", "enters"), [(54, 2), (54, 5), (110, 3)])
    def test_second_face_enters_between_key_frames(self, astronaut, networks, detector, side, enters):
        still, second = (20, 30, 100), (200, 90, side)
        frames = [_scene(astronaut, [still, second] if i >= enters else [still]) for i in range(6)]
        assert _found_all(frames, networks, detector) == 6 + 6 - enters

    def test_cut(self, astronaut, networks, detector):
        before = [_scene(astronaut, [(20, 30, 54)]) for _ in range(3)]
        after = [np.ascontiguousarray(255 - _scene(astronaut, [], 40)) for _ in range(2)]
        for frame in after:
            frame[100:154, 220:274] = _face(astronaut, 54)
        assert _found_all(before + after, networks, detector) == 5

    def test_one_answer_per_frame_in_order(self, astronaut, detector):
        frames = [_scene(astronaut, [(20, 30, 100)] if i % 2 else []) for i in range(7)]
        assert [len(f) for f in detector.detect_stream(iter(frames))] == [0, 1, 0, 1, 0, 1, 0]
        assert list(detector.detect_stream([])) == []

    def test_answers_do_not_depend_on_the_number_of_threads(self, astronaut):
        frames = [_scene(astronaut, [(20 + 12 * i, 60, 54), (200, 90, 100)]) for i in range(9)]
        one, three = (list(FaceDetector(threads=n).detect_stream(frames)) for n in (1, 3))
        assert one == three

    def test_a_stream_may_be_left_early(self, astronaut, detector):
        frames = [_scene(astronaut, [(20, 30, 100)]) for _ in range(12)]
        stream = detector.detect_stream(frames)
        assert len(next(stream)) == 1
        stream.close()
        assert [len(f) for f in detector.detect_stream(frames[:3])] == [1, 1, 1]

    def test_few_frames_are_read_ahead(self, astronaut, detector):
        read = 0

        def frames():
            nonlocal read
            for _ in range(40):
                read += 1
                yield _scene(astronaut, [])

        for answered, _ in enumerate(detector.detect_stream(frames()), start=1):
            assert read - answered <= 8


def _face(astronaut, side):
    return np.asarray(Image.fromarray(astronaut[30:230, 130:330]).resize((side, side)))


def _scene(astronaut, faces, grey=90):
    """A wall with faces at (x, y) in squares of ``side`` px; their boxes are about 0.43 by 0.55 of it."""
    wall = np.full((240, 320, 3), grey, np.uint8)
    for x, y, side in faces:
        wall[y : y + side, x : x + side] = _face(astronaut, side)
    return wall


def _found_all(frames, networks, detector):
    wanted = [detect_reference(networks, frame)[0] for frame in frames]
    for boxes, faces in zip(wanted, detector.detect_stream(frames), strict=True):
        overlaps = iou(boxes, np.array([f.edges for f in faces])).max(1, initial=0)
        assert (overlaps >= 0.8).all()
    return sum(map(len, wanted))


def test_huge_frame_is_searched_at_a_bounded_size(astronaut):
    big = np.asarray(Image.fromarray(astronaut).resize((2560, 2560), Image.Resampling.BICUBIC))
    ((face,),) = FaceDetector(max_side_px=512).detect([big])
    np.testing.assert_allclose(np.array(face.edges) / 5, PUBLISHED, atol=2.0)


@pytest.mark.parametrize("shape", [(1, 1), (5, 400), (12, 12), (19, 21)])
def test_tiny_frames_have_no_faces(detector, shape):
    assert detector.detect([np.zeros((*shape, 3), np.uint8)]) == [[]]


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), [1, 2]]
)
def test_what_is_not_a_picture_is_an_error(detector, bad):
    for call in (lambda: detector.detect([bad]), lambda: centre_crop(bad), lambda: resize_face(bad),
                 lambda: crop_face(bad, FaceBox(0, 0, 2, 2))):  # fmt: skip
        with pytest.raises(InputError, match="RGB"):
            call()


def test_area_resizing_equals_adaptive_pooling(arithmetic):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (53, 71, 3), dtype=np.uint8)
    sums = IntegralImage(picture)
    plain = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    for height, width in ((32, 43), (53, 71), (7, 100), (1, 1)):
        expected = functional.interpolate(plain, size=(height, width), mode="area")[0].permute(1, 2, 0)
        np.testing.assert_allclose(sums.resized(height, width), expected, atol=1e-3)
    windows = np.array([[3, 4, 40, 50], [0, 0, 71, 53], [10, 10, 12, 11], [20, 20, 20, 30]])
    crops = sums.crops(windows, 24)
    for (left, top, right, bottom), crop in zip(windows[:3], crops, strict=False):
        window = plain[:, :, top:bottom, left:right]
        expected = functional.interpolate(window, size=(24, 24), mode="area")[0].permute(1, 2, 0)
        np.testing.assert_allclose(crop, expected, atol=1e-3)
    assert not crops[3].any()


def test_area_resizing_survives_overflow_of_the_sums(arithmetic):
    picture = np.full((3000, 3000, 3), 255, np.uint8)  # 2.3e9 in all: more than 31 bits
    np.testing.assert_allclose(IntegralImage(picture).resized(20, 20), 255.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("which", "widths", "shape"),
    [
        (0, (16, 16, 32), (1, 12, 12)), (0, (16, 16, 32), (2, 13, 91)),
        (1, (32, 48, 64), (3, 24, 24)), (1, (32, 48, 64), (2, 25, 28)),
        (2, (32, 64, 64, 128), (2, 48, 48)), (2, (32, 64, 64, 128), (1, 49, 53)),
    ],
)  # fmt: skip
def test_bodies_equal_the_published_layers(arithmetic, networks, which, widths, shape):
    body = networks[which].body
    x = np.random.default_rng(which).uniform(0, 255, (*shape, 3)).astype(np.float32)
    expected = body((torch.from_numpy(x).permute(0, 3, 1, 2) - 127.5) / 128).permute(0, 2, 3, 1)
    made = bodies.fast_body(body, widths)
    np.testing.assert_allclose(made(x), expected, atol=2e-5)


def test_suppression_equals_the_plain_definition():
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate((start, start + rng.uniform(5, 40, (80, 2))), 1).astype(np.float32)
    scores, groups = rng.permutation(80).astype(np.float32), rng.integers(0, 3, 80)
    kept: list[int] = []
    for i in np.argsort(-scores):
        if all(groups[i] != groups[k] or iou(boxes[i : i + 1], boxes[k : k + 1])[0, 0] <= 0.5 for k in kept):
            kept.append(int(i))
    assert suppress(boxes, scores, groups, 0.5).tolist() == kept


class TestCrops:
    def test_square_with_margin_keeps_the_shape(self):
        """A circle in a tall box stays a circle, and the square's side is side * 48 / 46."""
        y, x = np.mgrid[:400, :400]
        picture = np.zeros((400, 400, 3), np.uint8)
        picture[(x - 200) ** 2 + (y - 180) ** 2 < 60**2] = 255
        crop = crop_face(picture, FaceBox(155, 88, 245, 272))  # 90 x 184
        assert crop.shape == (48, 48, 3)
        white = crop[..., 0] > 127
        diameter = 120 * 46 / 184
        assert white.any(0).sum() == pytest.approx(diameter, abs=1)
        assert white.any(1).sum() == pytest.approx(diameter, abs=1)
        assert np.argwhere(white).mean(0) == pytest.approx([23.5, 23.5], abs=0.5)

    def test_exact_pixels(self):
        picture = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
        crop = crop_face(picture, FaceBox(31, 21, 77, 67))  # 46 px, so the square is 48 px
        np.testing.assert_array_equal(crop, picture[20:68, 30:78])

    def test_outside_the_picture_the_edge_repeats(self):
        picture = np.full((100, 100, 3), 50, np.uint8)
        picture[:, 0] = (200, 0, 0)
        crop = crop_face(picture, FaceBox(-46, 10, 46, 102), margin_px=0)
        np.testing.assert_array_equal(crop[:20, 0], np.tile([200, 0, 0], (20, 1)))
        np.testing.assert_array_equal(crop[:40, -5], np.tile([50, 50, 50], (40, 1)))
        assert crop_face(picture, FaceBox(500, 500, 540, 550)).shape == (48, 48, 3)

    @pytest.mark.parametrize("shape", [(100, 300), (300, 100), (48, 48), (1, 1), (3, 1000)])
    def test_centre_crop_of_any_shape(self, shape):
        picture = np.zeros((*shape, 3), np.uint8)
        side = min(shape)
        top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
        picture[top : top + side, left : left + side] = 255
        crop = centre_crop(picture)
        assert crop.shape == (48, 48, 3)
        assert crop.mean() > 240

    def test_resize_keeps_a_crop_of_the_right_size(self):
        picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
        np.testing.assert_array_equal(resize_face(picture), picture)
        assert resize_face(picture[:, :30]).shape == (48, 48, 3)

    def test_empty_box_is_an_error(self):
        with pytest.raises(InputError, match="is empty"):
            crop_face(np.zeros((9, 9, 3), np.uint8), FaceBox(5, 5, 5, 5))


def test_weights_are_read_without_tensorflow():
    code = (
        "import sys; from maeum.media.faces import FaceDetector; FaceDetector(); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code + "; assert 'mtcnn' not in sys.modules"], check=True)


def test_all_published_faces_are_found_in_real_videos(shared_data, networks, detector):
    """The detector against full resolution, frame by frame; the smallest faces are about 20 px."""
    found = wanted = 0
    for name in ("several_people.mp4", "face_then_none_vfr.mov", "single_face.mp4"):
        frames = [f.rgb for f in sample_frames(shared_data / "media" / name, every_s=1.0)]
        for picture, faces in zip(frames, detector.detect_stream(frames), strict=True):
            boxes, _, _ = detect_reference(networks, picture)
            wanted += len(boxes)
            found += int((iou(boxes, np.array([f.edges for f in faces])).max(1, initial=0) >= 0.8).sum())
    assert wanted > 10
    assert found == wanted
