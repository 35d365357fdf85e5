"""Hair, brows and lashes as strands: N of them, K points each. Lengths in decimeters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from tests.demo_clip import people
from tests.demo_clip.people import LASHES, eyeball, smooth

PARTING_X = 0.22
LOWER_LID_Y = 7.27  # in the base mesh


@dataclass(frozen=True)
class Head:
    """A face at rest, on which hair grows."""

    places: np.ndarray  # (W, 3) of its vertices
    normals: np.ndarray  # (W, 3)
    rest: np.ndarray  # (W, 3) where they are in the base mesh
    quads: np.ndarray
    is_skin: np.ndarray  # (W,)
    is_scalp: np.ndarray  # (W,)
    coarse: np.ndarray  # (V, 3) its coarse mesh


def grow(head: Head, style: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Strands (N, K, 3) of a style, "bob" or "short", and their brightness (N,)."""
    roots, normals, rest = _scattered(head, 5_000, random)
    noise, layer = random.normal(0, 1, (len(roots), 3)), random.uniform(0, 1, (len(roots), 1))
    tuft = np.sin(rest * [9, 7, 8] @ [[1, 0.4, 0.2], [0.3, 1, 0.5], [0.2, 0.6, 1]] + [0, 1, 2])
    if style == "bob":
        strands = _cleared(_bob(head, roots, normals, rest, noise, layer, tuft), head)
    else:
        strands = _short(head, roots, normals, rest, noise, layer, tuft, random)
    return strands, random.uniform(0.65, 1.25, len(strands)) * (1 + 0.15 * noise[: len(strands), 0] ** 2)


def _scattered(head: Head, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random positions on the scalp (N, 3), their normals, and their positions in the base mesh."""
    quads = head.quads[head.is_scalp[head.quads].all(1)]
    a, b, c, d = (head.places[quads[:, i]] for i in range(4))
    area = np.linalg.norm(np.cross(c - a, d - b), axis=1)
    chosen = quads[random.choice(len(quads), count, p=area / area.sum())]
    s, t = random.uniform(0, 1, (2, count, 1))
    weights = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], 1)
    places, normals, rest = ((part[chosen] * weights).sum(1) for part in (head.places, head.normals, head.rest))
    return places, normals, rest


def _bob(head: Head, roots: np.ndarray, normals: np.ndarray, rest: np.ndarray, noise: np.ndarray, layer: np.ndarray,
         tuft: np.ndarray) -> np.ndarray:
    """Parted at the side and combed down to the chin."""
    middle, parted = roots.mean(0), rest[:, :1] - PARTING_X
    comb = np.hstack([np.sign(parted) * np.clip(0.35 + np.abs(parted), 0, 1), np.full_like(parted, -0.1),
                      np.where(rest[:, 2:] > 0.75, -0.62, -0.15)]) + 0.10 * tuft
    length = np.clip(roots[:, 1:2] - (middle[1] - 1.75) + 0.05 * noise[:, :1], 0.3, None) + 0.25

    def aim(t: float, points: np.ndarray) -> np.ndarray:
        way = 0.8 * (1 - t) ** 5 * normals + (1 - t) ** 1.2 * comb + t ** 0.8 * np.array([0, -1.3, 0.0]) + 0.06 * noise
        way[:, 0:1] += 0.5 * max(0.0, t - 0.75) * -np.sign(points[:, 0:1] - middle[0])
        return way

    return _march(head, roots, normals, length / 9, 9, aim, lambda t: 0.03 + 0.20 * layer * min(1.0, 3 * t),
                  lambda points: _held_in(points, middle, 0.86 + 0.22 * layer))


def _short(head: Head, roots: np.ndarray, normals: np.ndarray, rest: np.ndarray, noise: np.ndarray, layer: np.ndarray,
           tuft: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cropped, shorter at the sides."""
    x, y, z = rest[:, :1], rest[:, 1:2], rest[:, 2:]
    comb = np.hstack([0.35 * np.sign(x) * np.abs(x) ** 0.5 - 0.1, np.where(y > 7.75, 0.6, 0.1) - 0.55 * (y < 7.6),
                      np.where(z > 0.5, 0.45, -0.45)]) + 0.3 * tuft
    length = np.where(y > 7.75, 0.24, 0.09) * random.uniform(0.75, 1.1, y.shape) * (0.5 + 0.5 * smooth(7.2, 7.9, y))
    return _march(head, roots, normals, length / 4, 4, lambda t, _: (1 - t) * normals * 0.35 + comb + 0.2 * noise,
                  lambda t: 0.01 + 0.05 * layer * t, lambda points: points)


def _march(head: Head, roots: np.ndarray, normals: np.ndarray, step: np.ndarray, count: int, aim, least, held) -> np.ndarray:
    """Strands (N, count, 3) that grow toward `aim(t, points)`, no nearer to the skin than `least(t)`, and are `held(points)`."""
    skin = np.flatnonzero(head.is_skin & (head.rest[:, 1] > 5.0))
    tree, points, way = cKDTree(head.places[skin]), [roots], normals
    for i in range(1, count):
        toward = aim(i / count, points[-1])
        way = 0.5 * way + 0.5 * toward / np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
        way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
        p = points[-1] + way * step
        at = skin[tree.query(p)[1]]
        depth = ((p - head.places[at]) * head.normals[at]).sum(1, keepdims=True)
        points.append(held(p + head.normals[at] * np.clip(least(i / count) - depth, 0, 0.12)))
    return np.stack(points, 1)


def _held_in(points: np.ndarray, middle: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Points (N, 3) pulled into a dome that goes on as a column below the middle of the scalp."""
    center = np.array([middle[0], middle[1] - 0.2, middle[2] + 0.1])
    flat = (points - center) / [0.98, 1.12, 1.18]
    flat[:, 1] = np.maximum(flat[:, 1], 0)
    far = np.maximum(1, np.linalg.norm(flat, axis=1, keepdims=True) / most)
    pulled = center + (points - center) / far
    pulled[:, 1] = np.where(points[:, 1] > center[1], pulled[:, 1], points[:, 1])
    return pulled


def _cleared(strands: np.ndarray, head: Head) -> np.ndarray:
    """Remove strands that hang into the face."""
    left, right = eyeball(head.coarse, 1), eyeball(head.coarse, -1)
    back, top, side = min(left[2], right[2]) - left[3], left[1] + left[3], left[0] + left[3]
    x, y, z = np.moveaxis(strands, 2, 0)
    return strands[~((z > back - 0.45) & (y < top + 0.42) & (np.abs(x) < side + 0.10)).any(1)]


class Brows:
    """The hairs of the brows, which move with the skin."""

    def __init__(self, head: Head, thickness: float, random: np.random.Generator):
        count = int(600 * thickness)
        s, side = random.uniform(0, 1, count), random.choice([-1.0, 1.0], count)  # s: 0 at the nose, 1 at the temple
        across = random.uniform(-1, 1, count) * (0.036 - 0.024 * s) * (0.5 + 0.5 * thickness)
        x, y = 0.13 + 0.47 * s, 7.475 + 0.115 * np.sin(np.pi * 0.62 * s ** 1.1) * (1 - 0.35 * s) + across
        front = np.flatnonzero(head.is_skin & (head.rest[:, 2] > 0.8))
        near, at = cKDTree(head.rest[front][:, :2]).query(np.stack([side * x, y], 1), k=4)
        self.at, weight = front[at], 1 / np.maximum(near, 1e-4)
        self.weight = (weight / weight.sum(1, keepdims=True))[..., None]
        up = np.where(s < 0.25, 1.0 - 2.6 * s, -0.15 - 0.35 * s) - across * 5
        self.way = np.stack([side * (0.35 + s), up, np.zeros(count)], 1)
        self.way /= np.linalg.norm(self.way, axis=1, keepdims=True)
        self.long = random.uniform(0.06, 0.10, (count, 1)) * np.where(s < 0.15, 0.7, 1.0)[:, None]

    def points(self, places: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Strands (N, 3, 3) on a face with these vertices (W, 3) and normals (W, 3)."""
        root, n = ((part[self.at] * self.weight).sum(1) for part in (places, normals))
        way, root = self.way - n * (self.way * n).sum(1, keepdims=True), root + 0.004 * n
        return np.stack([root, root + 0.5 * self.long * (way + 0.25 * n), root + self.long * (way + 0.18 * n)], 1)


def lashes(coarse: np.ndarray) -> np.ndarray:
    """Strands (N, 3, 3) on the quads that MakeHuman has for the upper lashes, from the edge at the lid to the other one.

    Those of the lower lid are too fine to be seen.
    """
    vertices, quads, _, kinds, _ = people.base()
    quads = quads[kinds == LASHES]
    quads = quads[vertices[quads][..., 1].mean(1) >= LOWER_LID_Y]
    strands, eyes = [], {sign: eyeball(coarse, sign)[:3] for sign in (1, -1)}
    for corners in coarse[quads]:
        far = np.linalg.norm(corners - eyes[1 if corners[:, 0].mean() > 0 else -1], axis=1)
        i = int(np.argmin(far + np.roll(far, -1)))  # the nearer edge begins here
        a, b, c, d = np.roll(corners, -i, axis=0)
        for t in (0.2, 0.7):
            root, tip = a + t * (b - a), d + t * (c - d)
            strands.append([root, root + 0.4 * (tip - root), root + 0.65 * (tip - root)])
    return np.array(strands)
