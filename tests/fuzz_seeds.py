"""Small intact files from which the fuzzer derives hostile ones."""

from __future__ import annotations

import functools
import io
import json
from fractions import Fraction
from pathlib import Path

import cv2  # before av; see fer_live/sources

# isort: split
import av
import numpy as np

from fer_live.model.checkpoint import save_checkpoint
from fer_live.model.spec import EMOTIONS, ModelSpec
from training.data import VOTE_ORDER, VOTE_OTHER

PORTRAIT = Path(__file__).parent.parent / "fer_live" / "assets" / "portrait.jpg"
CLIPS = (("mp4", "libx264", "aac"), ("mkv", "libx264", "aac"), ("avi", "mjpeg", "pcm_s16le"), ("mjpeg", "mjpeg", None),
         ("mov", "mpeg4", "pcm_s16le"), ("ts", "mpeg2video", "mp2"))


@functools.cache
def images() -> dict[str, list[bytes]]:
    """Encoded images by file extension."""
    small = cv2.resize(cv2.imread(str(PORTRAIT)), (72, 64), interpolation=cv2.INTER_AREA)
    kinds = [small, small[..., 0], np.dstack([small, small[..., 0]]), small.astype(np.uint16) * 257]

    def encode(ending: str, images: list, *options: list[int]) -> list[bytes]:
        return [cv2.imencode(ending, image, option)[1].tobytes() for image in images for option in options or ([],)]

    return {
        ".png": encode(".png", kinds), ".bmp": encode(".bmp", kinds[:3]),
        ".jpg": encode(".jpg", kinds[:2], [], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        ".webp": encode(".webp", [kinds[0], kinds[2]], [cv2.IMWRITE_WEBP_QUALITY, 80], [cv2.IMWRITE_WEBP_QUALITY, 101]),
        ".tiff": encode(".tiff", kinds, [cv2.IMWRITE_TIFF_COMPRESSION, 1], [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
    }


@functools.cache
def clips() -> dict[str, bytes]:
    """Ten frames of 64x48 with a tone, in each format of CLIPS, by extension."""
    return {ending: _clip(ending, video, sound) for ending, video, sound in CLIPS}


def _clip(ending: str, codec: str, sound: str | None) -> bytes:
    file = io.BytesIO()
    kinds = {"mkv": "matroska", "ts": "mpegts"}
    scene = cv2.resize(cv2.imread(str(PORTRAIT)), (64, 48), interpolation=cv2.INTER_AREA)
    with av.open(file, "w", format=kinds.get(ending, ending)) as container:
        video = container.add_stream(codec, rate=Fraction(25))
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        audio = container.add_stream(sound, rate=44100, layout="mono") if sound else None
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(np.roll(scene, i, axis=1), format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            samples = (np.sin(np.arange(17_640) / 16) * 9000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 44100, 0
            resampled = av.AudioResampler(audio.format.name, "mono", 44100, frame_size=audio.frame_size or 1024).resample(frame)
            for part in resampled:
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return file.getvalue()


@functools.cache
def mjpeg_stream() -> bytes:
    """The data stream of an MJPEG camera."""
    jpeg = images()[".jpg"][0]
    return (b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n") * 12


@functools.cache
def dataset_csv() -> tuple[bytes, bytes]:
    """A fer2013.csv with 24 images of 8x8, and FER+ votes for them."""
    rng = np.random.default_rng(0)
    usage = ["Training"] * 16 + ["PublicTest"] * 4 + ["PrivateTest"] * 4
    rows = [f"{i % 7},{' '.join(map(str, rng.integers(0, 256, 64)))},{usage[i]}" for i in range(24)]
    votes = [f"{usage[i]},fer{i:07}.png,{','.join(map(str, rng.multinomial(10, [0.1] * 10)))}" for i in range(24)]
    head = f"Usage,Image name,{','.join((*VOTE_ORDER, *VOTE_OTHER))}"
    return "\n".join(["emotion,pixels,Usage", *rows, ""]).encode(), "\n".join([head, *votes, ""]).encode()


@functools.cache
def logs() -> tuple[bytes, bytes]:
    """A JSONL and a CSV log of 40 frames, with two people."""
    lines, rows = [], [",".join(["frame", "time_s", "track_id", "x1", "y1", "x2", "y2", "label", "confidence", *EMOTIONS])]
    for i in range(40):
        faces = [{"track_id": t, "box": [10 + i, 10, 50 + i, 50], "label": EMOTIONS[(i // 9 + t) % 7], "confidence": 0.9,
                  "probs": dict.fromkeys(EMOTIONS, 0.1428)} for t in range(1 + i % 2)]
        lines.append(json.dumps({"frame": i, "time_s": i / 10, "faces": faces}))
        rows += [",".join(map(str, [i, i / 10, f["track_id"], *f["box"], f["label"], 0.9, *[0.1428] * 7])) for f in faces]
    lines.insert(20, json.dumps({"event": "lost", "time_s": 2.0, "text": "no image"}))
    return "\n".join([*lines, ""]).encode(), "\n".join([*rows, ""]).encode()


@functools.cache
def spec() -> ModelSpec:
    return ModelSpec("mobilenetv3_small_050", heads={"fer2013": 1.5, "ferplus": 0.8}, head="ferplus")


@functools.cache
def checkpoint(folder: Path) -> Path:
    """A checkpoint of a small untrained network in 16 bits."""
    import torch

    from fer_live.model.networks import build_model

    torch.manual_seed(0)
    path = folder / "seed.pt"
    save_checkpoint(path, build_model(spec()), spec(), {"accuracy": 0.5}, half=True)
    return path


@functools.cache
def onnx() -> bytes:
    """A small network with the interface of an exported one: the mean of the crop times a matrix, per head."""
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(np.full((1, 7), 0.1 * (i + 1), np.float32), f"w{i}") for i in range(2)]
    axes = numpy_helper.from_array(np.array([1, 2]), "axes")
    nodes = [helper.make_node("Cast", ["crops"], ["x"], to=TensorProto.FLOAT),
             helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0)]
    nodes += [helper.make_node("MatMul", ["m", f"w{i}"], [head]) for i, head in enumerate(spec().heads)]
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 48, 48, 1])
    logits = [helper.make_tensor_value_info(head, TensorProto.FLOAT, ["n", 7]) for head in spec().heads]
    graph = helper.make_graph(nodes, "g", [crops], logits, [*weights, axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
