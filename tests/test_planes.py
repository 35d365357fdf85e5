"""Annotated videos keep the decoded frames wherever nothing is drawn."""

from dataclasses import replace
from fractions import Fraction

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.screen.overlay import Overlay
from fer_live.sinks.planes import Planes
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Face, Frame, Rates, View

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
RAMP = np.dstack([cv2.resize(np.array([[30, 220]] if i % 2 else [[60], [200]], np.uint8), (320, 240)) for i in range(3)])


def write_video(path, images, matrix=2, color_range=0, pixels="yuv420p"):
    """Write images BGR with tags: matrix 1 is BT.709, 5 BT.601, 2 untagged; range 1 is 16..235, 2 is 0..255."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pixels
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame = frame.reformat(format=pixels, dst_colorspace=5 if matrix == 2 else matrix, dst_color_range=color_range or 1)
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def images_of(path):
    with VideoFile(path) as source:
        return [frame.image.astype(int) for frame in source]


def face(track_id, box, label="happy"):
    probs = np.full(7, 0.1, np.float32)
    return Face(box, track_id, probs, label, 0.8)


@pytest.mark.parametrize("tags", [(2, 0), (1, 1), (5, 1), (5, 2), (1, 2)])
def test_colors_of_an_annotated_video_do_not_shift(tmp_path, untrained, portrait, tags):
    scene = RAMP.copy()
    scene[20:200, 60:240] = cv2.resize(portrait[20:300, 80:360], (180, 180))
    clip = write_video(tmp_path / "a.mp4", [np.roll(scene, i, axis=1) for i in range(8)], *tags)
    assert main(["--source", str(clip), "--no-window", "--model", str(untrained), "--output", str(tmp_path / "o.mp4")]) == 0
    drawn = 0
    for before, after in zip(images_of(clip), images_of(tmp_path / "o.mp4"), strict=True):
        shift = after - before
        drawn += (np.abs(shift).max(2) > 60).sum()
        assert np.abs(shift[215:].mean((0, 1))).max() < 1.0 and np.abs(shift[215:]).mean() < 3.0
    assert drawn > 1000, "the face has its box and label"


def test_only_what_was_drawn_is_converted(tmp_path):
    """The encoded frame is the decoded one outside the boxes, and the drawn image inside."""
    clip = write_video(tmp_path / "a.mp4", [RAMP] * 3, 1, 1)
    with VideoFile(clip) as source:
        source.keep_decoded()
        frame = next(iter(source))
    assert frame.decoded.image is frame.image
    drawn = frame.image.copy()
    drawn[51:90, 21:80], drawn[200:, 300:] = (20, 40, 230), (240, 30, 30)
    made = Planes(frame.decoded).drawn(drawn, frame.decoded, [(21, 51, 80, 90), (300, 200, 400, 300), (-50, -50, -9, -9)])
    whole = Planes(frame.decoded).whole(drawn)
    plane, stored, exact = (f.to_ndarray()[:240].astype(int) for f in (made, frame.decoded.frame, whole))
    inside = np.zeros((240, 320), bool)
    inside[50:90, 20:80] = inside[200:, 300:] = True
    assert (plane == stored)[~inside].all() and np.abs(plane - exact)[inside].max() <= 1
    shown = made.reformat(format="bgr24", src_colorspace=1).to_ndarray().astype(int)
    assert np.abs(shown[56:84, 26:74] - (20, 40, 230)).max() < 8


def test_a_replaced_image_is_recorded_and_not_the_decoded_one(tmp_path):
    """A masked face must not come back through the decoded frame."""
    clip = write_video(tmp_path / "a.mp4", [RAMP] * 4)
    with VideoFile(clip) as source, VideoRecorder(tmp_path / "o.mp4", 10, drawn_on=lambda image: []) as recorder:
        source.keep_decoded()
        for frame in source:
            masked = replace(frame, image=np.full_like(frame.image, 90))
            recorder.write(masked.image, Analysis(masked, ()))
    assert all(np.abs(image - 90).max() < 6 for image in images_of(tmp_path / "o.mp4"))


@pytest.mark.parametrize(("size_hw", "pixels"), [((120, 161), "yuv444p"), ((121, 160), "yuv444p"), ((120, 160), "yuv422p")])
def test_other_formats_have_no_decoded_frame(tmp_path, size_hw, pixels):
    image = cv2.resize(RAMP, size_hw[::-1])
    with VideoFile(write_video(tmp_path / "a.mp4", [image] * 2, pixels=pixels)) as source:
        source.keep_decoded()
        assert [frame.decoded for frame in source] == [None, None]


def test_frames_carry_decoded_frames_only_on_request(tmp_path):
    with VideoFile(write_video(tmp_path / "a.mp4", [RAMP] * 2)) as source:
        assert [frame.decoded for frame in source] == [None, None]


def test_overlay_knows_where_it_drew():
    overlay, random = Overlay(LABELS, View()), np.random.default_rng(0)
    for i in range(40):
        image, faces = np.full((360, 640, 3), 128, np.uint8), []
        for number in range(int(random.integers(0, 4))):
            x, y, side = random.integers(-40, 620), random.integers(-40, 340), random.integers(12, 300)
            faces.append(face(number + 1, (int(x), int(y), int(x + side), int(y + side)), LABELS[i % 7]))
        drawn = overlay.draw(Analysis(Frame(image, i, i / 10), tuple(faces)))
        changed = (drawn != image).any(2)
        for x1, y1, x2, y2 in overlay.drawn_on(drawn):
            changed[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = False
        assert not changed.any()
    assert overlay.drawn_on(image) is None, "not the image that it returned"
    analysis = Analysis(Frame(image, 99, 9.9), ())
    for view, rates in ((View(badge="DEMO"), None), (View(notice="disk full"), None), (View(recording=True), None),
                        (View(bars=True), None), (View(fps=True), Rates())):
        marked = Overlay(LABELS, view)
        assert marked.drawn_on(marked.draw(analysis, rates)) is None
