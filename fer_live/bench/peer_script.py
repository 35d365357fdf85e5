"""Runs the package `fer` on a clip, in that package's own environment: python peer_script.py CLIP RESULT.json

Imports nothing from this program. The result has the boxes of each frame, xyxy, and the seconds for the whole clip.
"""

import json
import sys
import time


def main(clip, result):
    import cv2
    from fer.fer import FER  # the import of its README, `from fer import FER`, fails in 25.10.3

    detector = FER()
    capture = cv2.VideoCapture(clip)
    _, image = capture.read()
    for _ in range(5):
        detector.detect_emotions(image)  # warm-up
    capture.release()
    capture, boxes = cv2.VideoCapture(clip), []
    started_s = time.monotonic()
    while True:
        ok, image = capture.read()
        if not ok:
            break
        faces = [[int(v) for v in face["box"]] for face in detector.detect_emotions(image)]
        boxes.append([[x, y, x + w, y + h] for x, y, w, h in faces])
    took_s = time.monotonic() - started_s
    with open(result, "w", encoding="utf-8") as file:
        json.dump({"boxes": boxes, "seconds": took_s}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
