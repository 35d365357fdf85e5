"""Several cameras side by side."""

import json
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.analysis.analyzer import Analyzer
from fer_live.privacy.masks import Mask, widened
from fer_live.sources.grid import Grid
from fer_live.types import Analysis, Frame, SourceError


class Still:
    """A live source that yields one image `n` times at its own rate, starting after `late_s`, optionally with slates before."""

    is_live = True

    def __init__(self, image, n=6, fps=50.0, open_error=None, late_s=0.0, slate=None):
        self.image, self.n, self.fps, self.open_error, self.late_s, self.slate = image, n, fps, open_error, late_s, slate
        self.entered = self.left = 0

    def __enter__(self):
        if self.open_error:
            raise self.open_error
        self.entered += 1
        return self

    def __exit__(self, *exception):
        self.left += 1

    def __iter__(self):
        due_s = time.monotonic() + self.late_s
        while time.monotonic() < due_s:
            time.sleep(0.02)
            if self.slate is not None:
                yield Frame(self.slate, 0, time.monotonic(), is_slate=True)
        for i in range(self.n):
            time.sleep(1 / self.fps)
            yield Frame(self.image, i, time.monotonic())


def filled(value, size_wh=(64, 48)):
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


def test_each_camera_has_its_tile_and_aspect_ratio():
    cameras = [Still(filled(50)), Still(filled(100, (128, 48))), Still(filled(150, (32, 24)))]
    with Grid(cameras) as grid:
        frames = list(grid)
    assert [c.entered for c in cameras] == [c.left for c in cameras] == [1, 1, 1]
    image = frames[-1].image
    assert image.shape == (96, 128, 3)
    assert image[24, 32, 0] == 50 and image[24, 96, 0] == 100 and image[72, 32, 0] == 150
    assert image[2, 96, 0] == 0, "a wider image is letterboxed"
    assert image[72, 96, 0] == 0, "there is no fourth camera"
    assert [frame.index for frame in frames] == list(range(len(frames)))


def shapes(grid):
    with grid:
        return {frame.image.shape for frame in grid}


@pytest.mark.parametrize("slate", [None, filled(9, (1280, 720))])
def test_first_camera_sets_the_tile_size_even_if_late(slate):
    """The other cameras are shown once the tile size is known, and the layout stays the same when it arrives."""
    late = Still(filled(50), late_s=0.3, slate=slate)
    assert shapes(Grid([late, Still(filled(100, (128, 96)), n=60)])) == {(48, 128, 3)}


def test_missing_first_camera_is_not_awaited():
    late = Still(filled(50), late_s=0.8)
    grid = Grid([late, Still(filled(100, (128, 96)), n=80)], wait_s=0.2)
    with grid:
        frames = list(grid)
    assert {frame.image.shape for frame in frames} == {(96, 256, 3)}
    assert frames[0].image[48, 64, 0] == 0 and frames[-1].image[48, 64, 0] == 50, "it is scaled to the tile size"
    assert shapes(Grid([Still(filled(0), n=0), Still(filled(100, (128, 96)), n=5)])) == {(96, 256, 3)}, "it has ended"
    slates = Still(filled(50), n=0, late_s=0.5, slate=filled(9))
    assert shapes(Grid([slates, slates], wait_s=0.2)) == {(48, 128, 3)}, "with only slates, the slates' size"


def test_camera_that_changes_size_keeps_its_tile():
    class Turned(Still):
        def __iter__(self):
            yield from super().__iter__()
            self.image = filled(60, (48, 64))
            yield from super().__iter__()

    assert shapes(Grid([Turned(filled(50)), Still(filled(100), n=12)])) == {(48, 128, 3)}


def test_tiles_and_smallest_side_of_a_grid():
    with Grid([Still(filled(50)), Still(filled(100, (48, 48))), Still(filled(150, (24, 48)))]) as grid:
        frame = list(grid)[-1]
    assert frame.tiles == ((0, 0, 64, 48), (72, 0, 120, 48), (20, 48, 44, 96)) and frame.smallest_side == 24
    for value, (x1, y1, x2, y2) in zip((50, 100, 150), frame.tiles, strict=True):
        assert (frame.image[y1:y2, x1:x2] == value).all()
    assert Frame(filled(0), 0, 0.0).smallest_side == 48


def test_frame_marks_the_tile_of_a_lost_camera():
    late = Still(filled(50), n=4, late_s=0.3, slate=filled(9))
    with Grid([Still(filled(100), n=30), late]) as grid:
        frames = list(grid)
    second = (64, 0, 128, 48),
    assert second in {frame.lost_tiles for frame in frames} <= {(), second}
    for frame in frames:
        assert not frame.is_slate and (frame.lost_tiles == second) == (9 in frame.image)


@pytest.mark.parametrize("cameras", [1, 2, 4])
@pytest.mark.parametrize("shape", ["square", "tall", "wide"])
def test_face_is_found_in_a_grid_as_in_a_single_image(portrait, untrained, cameras, shape):
    """The face is a fifth of its image's shorter side in every grid layout."""
    pad = {"square": (0, 0, 0, 0), "tall": (200, 300, 0, 0), "wide": (0, 0, 200, 300)}[shape]
    image = cv2.copyMakeBorder(portrait, *pad, cv2.BORDER_CONSTANT, value=(90, 90, 90))
    with Grid([Still(image, fps=20.0) for _ in range(cameras)]) as grid:
        frame = list(grid)[-1]
    analyzer = Analyzer.from_checkpoint(untrained, "cpu", runtime="torch")
    for i in range(4):
        faces = analyzer(replace(frame, index=i, time_s=i / 30)).faces
    assert len(faces) == cameras
    masked = Mask("pixelate")(Analysis(frame, ())).frame.image
    for x1, y1, x2, y2 in (widened(face.box) for face in faces):
        before, after = frame.image[y1:y2, x1:x2], masked[y1:y2, x1:x2]
        assert (before == after).all(axis=2).mean() < 0.2, "found by the second search alone"


def test_late_camera_keeps_time_monotonic():
    class Late(Still):
        def __iter__(self):
            yield from (replace(frame, time_s=frame.time_s - 0.1) for frame in super().__iter__())

    with Grid([Still(filled(1), n=10, fps=40.0), Late(filled(2), n=20, fps=50.0)]) as grid:
        times = [frame.time_s for frame in grid]
    assert times == sorted(times)


def test_slow_camera_delays_no_other_and_grid_ends_with_the_last():
    quick, slow = Still(filled(10), n=20, fps=100), Still(filled(20), n=2, fps=8)
    with Grid([quick, slow]) as grid:
        started_s = time.monotonic()
        frames = list(grid)
        took_s = time.monotonic() - started_s
    assert len(frames) >= 12 and took_s < 1.0
    assert frames[-1].image[0, 0, 0] == 10 and frames[-1].image[0, -1, 0] == 20


def test_per_camera_processing_affects_only_its_tile():
    half = filled(0)
    half[:, 32:] = 200
    with Grid([Still(half), Still(half)]) as grid:
        flipped = list(grid.frames(lambda frames: (Frame(cv2.flip(f.image, 1), f.index, f.time_s) for f in frames)))[-1].image
    assert flipped[0, 0, 0] == 200 and flipped[0, 63, 0] == 0 and flipped[0, 64, 0] == 200 and flipped[0, 127, 0] == 0


def test_open_cameras_are_closed_if_another_fails():
    first = Still(filled(1))
    with pytest.raises(SourceError, match="in use"), Grid([first, Still(filled(2), open_error=SourceError("in use"))]):
        pass
    assert first.left == 1


def test_two_demos_form_one_image_with_two_faces(tmp_path, untrained, capsys):
    log, out = tmp_path / "o.jsonl", tmp_path / "o.mp4"
    arguments = ["--source", "demo", "--source", "demo", "--model", str(untrained), "--no-window", "--max-seconds", "4",
                 "--log", str(log), "--output", str(out)]
    assert main(arguments) == 0


    entries = [json.loads(line) for line in log.read_text().splitlines()]
    boxes = [face["box"] for entry in entries for face in entry["faces"]]
    assert any(box[2] <= 1280 for box in boxes) and any(box[0] >= 1280 for box in boxes), "a face in each tile"


def test_grid_rejects_files(tmp_path, portrait, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), portrait)
    assert main(["--source", "demo", "--source", str(tmp_path / "a.png")]) == 2
    assert "is a file" in capsys.readouterr().err
