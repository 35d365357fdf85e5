"""Checks of the doctor that run parts of the program: OpenCV, face detectors, video, the model, imports and the window.

`fer_live.doctor` runs each in a subprocess, since a broken package can abort or hang the process that imports it.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fer_live.doctor.machine import FAILURE, OK, WARNING, WEIGHTS, Check, Finding, answer, installed, with_pins

PORTRAIT = Path(__file__).parent.parent / "assets" / "portrait.jpg"
PORTRAIT_BOX = (176, 70, 273, 167)  # xyxy of its face
OPENCV_TODO = "pip uninstall -y opencv-python opencv-python-headless opencv-contrib-python && pip install {opencv-contrib-python}"


def opencv() -> Iterator[Finding]:
    """Check the version, completeness, and agreement of pip's metadata with the folder cv2."""
    import cv2

    todo = with_pins(OPENCV_TODO)
    if not hasattr(cv2, "__version__") or not hasattr(cv2, "VideoCapture"):
        yield Finding("opencv", FAILURE, f"the module cv2 is not OpenCV, or only a remnant of it: {cv2!r}", todo)
        return
    text, said = f"{cv2.__version__} at {Path(cv2.__file__).parent}", installed("opencv-contrib-python")
    backends = cv2.videoio_registry.getCameraBackends()
    text += f"; camera backends: {', '.join(map(cv2.videoio_registry.getBackendName, backends)) or 'none'}"
    if said and said != "?" and not said.startswith(cv2.__version__):
        yield Finding("opencv", WARNING, f"{text}, but pip installed {said}: another package has overwritten it", todo)
    else:
        yield Finding("opencv", OK, text)


def detectors() -> Iterator[Finding]:
    """Check that each detector finds the face in the bundled portrait."""
    import cv2

    from fer_live.model.haar import CASCADE, HaarFaceDetector
    from fer_live.model.spec import CheckpointError
    from fer_live.model.yunet import YuNetFaceDetector

    folder = Path(getattr(getattr(cv2, "data", None), "haarcascades", "") or "nowhere")
    if not hasattr(cv2, "CascadeClassifier") or not (folder / CASCADE).is_file():
        yield Finding("detectors", FAILURE, f"OpenCV {cv2.__version__} has no Haar cascade ({folder / CASCADE}); version 5 "
                      "removed them", with_pins(OPENCV_TODO))
        return
    yield _tried(f"haar ({CASCADE})", lambda image: HaarFaceDetector().detect(image), with_pins(OPENCV_TODO))
    try:
        yield _tried("yunet", lambda image: YuNetFaceDetector().detect(image).boxes, with_pins(OPENCV_TODO))
    except CheckpointError as error:
        yield Finding("detectors", FAILURE, f"yunet: {error}", "install the program again")


def _tried(name: str, detect: Callable, todo: str) -> Finding:
    """Check that a detector finds the portrait's face. detect: (H, W, 3) BGR -> boxes (N, 4) xyxy."""
    image = _portrait()
    started_s = time.perf_counter()
    boxes = detect(image)
    text = f"{name}, {1000 * (time.perf_counter() - started_s):.0f} ms"
    x1, y1, x2, y2 = PORTRAIT_BOX
    if any(x1 < (box[0] + box[2]) / 2 < x2 and y1 < (box[1] + box[3]) / 2 < y2 for box in boxes):
        return Finding("detectors", OK, f"{text}: finds the portrait's face")
    return Finding("detectors", FAILURE, f"{text}: found {boxes.tolist()} in {PORTRAIT.name}, whose face is at "
                   f"{PORTRAIT_BOX}", todo)


def _portrait():
    """Return the bundled portrait, (512, 512, 3) BGR."""
    import cv2

    image = cv2.imread(str(PORTRAIT))
    if image is None:
        raise RuntimeError(f"{PORTRAIT} cannot be read")
    return image


def video() -> Iterator[Finding]:
    """Encode H.264 and AAC as the recorder does, and decode both again, in memory."""
    import av
    import numpy as np

    versions = ", ".join(f"{name} {'.'.join(map(str, number))}" for name, number in sorted(av.library_versions.items())[:3])
    yield Finding("video", OK, f"PyAV {av.__version__} ({versions})")
    missing = [name for name in ("libx264", "aac", "h264") if name not in av.codecs_available]
    if missing:
        yield Finding("video", FAILURE, f"PyAV lacks {', '.join(missing)}; it was built with another FFmpeg",
                      with_pins("pip install --force-reinstall --only-binary av {av}"))
        return
    file, shade = io.BytesIO(), 90
    with av.open(file, "w", format="mp4") as container:
        images, sound = container.add_stream("libx264", rate=30), container.add_stream("aac", rate=44100, layout="mono")
        images.width, images.height, images.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            container.mux(images.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="bgr24")))
        for _ in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(sound.encode(frame))
        container.mux(images.encode(None))
        container.mux(sound.encode(None))
    size = file.tell()
    file.seek(0)
    with av.open(file, "r") as container:
        shades = [frame.to_ndarray(format="bgr24").mean() for frame in container.decode(video=0)]
    file.seek(0)
    with av.open(file, "r") as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    text = f"libx264 and AAC to MP4 and back: {len(shades)} of 10 images, {samples} samples, {size:,} bytes"
    if len(shades) == 10 and max(abs(s - shade) for s in shades) < 5 and samples >= 10240:
        yield Finding("video", OK, text)
    else:
        yield Finding("video", FAILURE, f"{text}; mean shades {[round(s) for s in shades]}, should be {shade}",
                      with_pins("pip install --force-reinstall {av}"))


def model() -> Iterator[Finding]:
    """Check that the released weights load and classify the portrait as happy."""
    import numpy as np

    from fer_live.analysis.classifier import EmotionClassifier
    from fer_live.model.preprocess import crop_faces

    started_s = time.perf_counter()
    classify = EmotionClassifier(WEIGHTS / "best_model.pt", "cpu")
    loaded_s = time.perf_counter()
    probs = classify(crop_faces(_portrait(), np.array([PORTRAIT_BOX]), classify.spec))[0]
    done_s = time.perf_counter()
    label, confidence = classify.spec.labels[int(probs.argmax())], float(probs.max())
    text = (f"{classify.describe}; loaded in {loaded_s - started_s:.1f} s, the portrait in {1000 * (done_s - loaded_s):.0f} ms: "
            f"{label} {confidence:.0%}")
    if label == "happy" and confidence > 0.5:
        yield Finding("model", OK, text)
    else:
        yield Finding("model", FAILURE, f"{text}, should be happy",
                      with_pins("pip install --force-reinstall {openvino}, or install the program again"))


def program() -> Iterator[Finding]:
    """Check that all modules of a live run can be imported, and that cv2 comes before av."""
    import fer_live.app.live

    names = list(sys.modules)  # in import order
    if names.index("cv2") > names.index("av"):
        yield Finding("program", FAILURE, "av was imported before cv2, after which OpenCV's windows hang (PyAV issue 978)",
                      "look for an import of av in sitecustomize, usercustomize and .pth files, or in changes to fer_live")
    else:
        yield Finding("program", OK, f"{Path(fer_live.app.live.__file__).parent} imports, cv2 before av")


def window() -> Iterator[Finding]:
    """Check that OpenCV has window support and can open a window if there is a display."""
    import cv2

    import fer_live.sinks.recorder  # noqa: F401  loads av as well, as in the program: the two have hung together
    from fer_live.screen.display import missing_display, settle_qt_platform

    interface = next((line.split(":")[1].strip() for line in cv2.getBuildInformation().splitlines() if " GUI:" in line), "?")
    if interface in ("NONE", "NO"):
        yield Finding("window", WARNING, "this OpenCV has no windows (a headless package)", with_pins(OPENCV_TODO))
        return
    missing = missing_display()
    if missing:
        level = WARNING if os.environ.get("DISPLAY") else OK  # the check `display` has already reported a missing one
        todo = "set DISPLAY to a display that responds, or log in there" if level != OK else ""
        yield Finding("window", level, f"{interface}, not tried: {missing}", todo)
        return
    settle_qt_platform()
    cv2.namedWindow("fer_live doctor", cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
    cv2.imshow("fer_live doctor", _portrait())
    cv2.waitKey(100)
    is_open = cv2.getWindowProperty("fer_live doctor", cv2.WND_PROP_VISIBLE) >= 1
    cv2.destroyAllWindows()
    yield Finding("window", OK if is_open else WARNING, f"{interface}, a window {'opened' if is_open else 'did not open'}",
                  "" if is_open else "run it in a desktop session, or with --no-window")


ALL = (opencv, detectors, video, model, program, window)
CHECKS: dict[str, Check] = {check.__name__: check for check in ALL}

if __name__ == "__main__":
    sys.exit(answer(CHECKS, sys.argv[1:]))
