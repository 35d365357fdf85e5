"""The images that YuNet searches: brightened if they are dim, rotated, or only the surroundings of a box."""

from __future__ import annotations

import cv2
import numpy as np

from fer_live.model.preprocess import square_part

# Side of the square around a face, in sides of its box; pixels it is scaled to. With 64, faces have 40 pixels, and YuNet finds
# only half of those that it finds with 60 pixels if they are tilted by 30 degrees.
LOOK, LOOK_SIDE = 1.6, 96
# Gray levels of the brightest 5%, to which a dim image is scaled before it is searched: the square around a face if it has less
# than BRIGHT, the whole image if it is DARK, since in dim ones this also finds glasses and shoulders. It finds 12 of 12 rendered
# heads with dark skin at 15% of the light instead of none, and 75% instead of 55% of 200 faces at a tenth of the light.
BRIGHT, DARK, MOST_GAIN = 160, 36, 12.0


class Around:
    """The surroundings of a box, scaled once, since they are searched several times."""

    def __init__(self, image: np.ndarray, box: np.ndarray):
        reach = 1.42  # covers the rotated square
        part = square_part(image, box, LOOK * reach - 1)
        self.shape, self.size = image.shape, round(LOOK_SIDE * reach)
        self.scale = part.shape[0] / self.size
        x1, y1, x2, y2 = (int(v) for v in box)
        self.corner = np.array([(x1 + x2 - part.shape[1]) // 2, (y1 + y2 - part.shape[0]) // 2])
        is_mean = 1 < self.scale < 3  # above 3, area averaging would take longer than the network
        small = cv2.resize(part, (self.size,) * 2, interpolation=cv2.INTER_AREA if is_mean else cv2.INTER_LINEAR)
        self.part = brightened(small, BRIGHT)

    def turned(self, degrees: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the square rotated counterclockwise, and the matrix (2, 3) from its pixels to those of the image."""
        matrix = cv2.getRotationMatrix2D((self.size / 2, self.size / 2), degrees, 1.0)
        matrix[:, 2] += (LOOK_SIDE - self.size) / 2  # type: ignore[arg-type]  # the stubs say integers; it is float64
        back = np.asarray(cv2.invertAffineTransform(matrix) * self.scale, np.float64)
        back[:, 2] += self.corner
        return cv2.warpAffine(self.part, matrix, (LOOK_SIDE, LOOK_SIDE), borderMode=cv2.BORDER_REPLICATE), back


def brightened(image: np.ndarray, least: float) -> np.ndarray:
    """Return the image (H, W, 3) uint8 BGR, scaled to the brightness of a well-lit one if its brightness is below `least`."""
    brightness = max(1.0, float(np.percentile(image[::4, ::4, 1], 95)))
    return cv2.convertScaleAbs(image, alpha=min(MOST_GAIN, BRIGHT / brightness)) if brightness < least else image


def whole_turned(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the whole image rotated counterclockwise on gray, and the matrix (2, 3) back to its pixels."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    size = np.ceil(np.abs(matrix[:, :2]) @ [width, height])
    matrix[:, 2] += (size - [width, height]) / 2
    turned = cv2.warpAffine(image, matrix, (int(size[0]), int(size[1])), borderValue=(128, 128, 128))
    return turned, np.asarray(cv2.invertAffineTransform(matrix), np.float64)
