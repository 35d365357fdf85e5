"""Shared fixtures: a portrait, generated clips, cartoon faces for training, and checkpoints of an untrained network."""

from __future__ import annotations

import os
import signal
import tempfile
from fractions import Fraction
from pathlib import Path

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.app.messages import shown

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # avoid busy-waiting torch threads


def pytest_configure(config: pytest.Config) -> None:
    caches = tempfile.TemporaryDirectory()  # compiled networks; tests leave the user's folder alone
    os.environ["XDG_CACHE_HOME"] = caches.name
    config.add_cleanup(caches.cleanup)
    config.addinivalue_line("markers", "cuda: needs a CUDA GPU; skipped where there is none")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA GPU on this machine"))


@pytest.fixture(autouse=True)
def signals_restored():
    """Restore the signal handlers that the command line installs."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.fixture(autouse=True)
def messages_on_stderr():
    """Show log messages as the program does, even if a test calls only a part of it."""
    with shown():
        yield


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A smiling face as (512, 512, 3) BGR; its box is about (176, 70, 273, 167)."""
    return cv2.imread(str(ROOT / "fer_live" / "assets" / "portrait.jpg"))


@pytest.fixture(scope="session")
def make_clip(portrait):
    """make_clip(path, ...) writes a clip of the portrait moving to the right, with a tone."""

    def make(path: Path, frames: int = 24, fps: Fraction = Fraction(30000, 1001), sound: str | None = "aac", face: bool = True,
             size_wh: tuple[int, int] = (320, 240), skip: tuple[int, ...] = ()) -> Path:
        width, height = size_wh
        with av.open(str(path), "w") as container:
            video = container.add_stream("libx264", rate=fps, options={"bf": "0"})
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            audio = container.add_stream(sound, rate=44100, layout="mono") if sound else None
            for i in range(frames):
                if i in skip:  # a gap in time: the clip's rate is not constant
                    continue
                scene = np.full((height, width, 3), 90, np.uint8)
                if face:
                    side = min(height, width - 2 * i)
                    scene[:side, 2 * i : 2 * i + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
                frame = av.VideoFrame.from_ndarray(scene, format="bgr24")
                frame.pts, frame.time_base = i, 1 / fps
                for packet in video.encode(frame):
                    container.mux(packet)
            for packet in video.encode(None):
                container.mux(packet)
            if audio:
                _tone(container, audio, float(frames / fps))
        return path

    return make


def _tone(container, stream, seconds: float) -> None:
    samples = np.sin(np.arange(int(44100 * seconds)) * 2 * np.pi * 440 / 44100).astype(np.float32)
    for start in range(0, len(samples), 1024):
        block = np.ascontiguousarray(samples[None, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, start
        for packet in stream.encode(frame):
            container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)


def cartoon(label: int, rng: np.random.Generator) -> np.ndarray:
    """A cartoon face of class `label` as (48, 48) uint8: mouth and brows depend on the class, position and light are random."""
    image = np.full((48, 48), 60, np.uint8)
    dx, dy = rng.integers(-2, 3, 2)
    cv2.ellipse(image, (24 + dx, 24 + dy), (18, 22), 0, 0, 360, 190, -1)
    brow = (5, 0, -4, 0, 0, -5, -2)[label]
    for side in (-1, 1):
        eye = 24 + dx + 8 * side
        cv2.circle(image, (eye, 18 + dy), 4 if label in (2, 6) else 2, 30, -1)
        cv2.line(image, (eye - 5 * side, 11 + dy + brow), (eye + 5 * side, 11 + dy), 20, 2)
    mouth = 24 + dx, 34 + dy
    if label == 3:
        cv2.ellipse(image, mouth, (9, 6), 0, 0, 180, 20, 2)
    elif label in (0, 5):
        cv2.ellipse(image, (mouth[0], mouth[1] + 4), (8, 5), 0, 180, 360, 20, 2)
    elif label in (2, 6):
        cv2.ellipse(image, mouth, (4, 3 + label // 2), 0, 0, 360, 20, -1)
    else:
        cv2.line(image, (mouth[0] - 7, mouth[1] + (4 if label == 1 else 0)), (mouth[0] + 7, mouth[1]), 20, 2)
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def face_folders(tmp_path_factory) -> Path:
    """A data set in Kaggle's layout: 8 cartoon faces per class to train, 3 to validate; file names are row numbers."""
    from fer_live.model.spec import EMOTIONS

    root, rng, row = tmp_path_factory.mktemp("faces"), np.random.default_rng(0), 0
    for split, count in (("train", 8), ("validation", 3)):
        for label, name in enumerate(EMOTIONS):
            folder = root / split / name
            folder.mkdir(parents=True)
            for _ in range(count):
                cv2.imwrite(str(folder / f"{row}.png"), cartoon(label, rng))
                row += 1
    return root


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """A checkpoint of a small, fast untrained network with both heads."""
    import torch

    from fer_live.model.checkpoint import save_checkpoint
    from fer_live.model.networks import build_model
    from fer_live.model.spec import ModelSpec

    torch.manual_seed(0)
    spec = ModelSpec("efficientnet_lite0", heads={"fer2013": 1.5, "ferplus": 0.8}, head="ferplus")
    path = tmp_path_factory.mktemp("weights") / "untrained.pt"
    save_checkpoint(path, build_model(spec), spec, {})
    return path
