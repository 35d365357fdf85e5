"""A person to render: skin, eyes, brows, lashes, hair and a shirt, all of which follow the face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tests.demo_clip import people
from tests.demo_clip.hair import Brows, Head, grow, lashes
from tests.demo_clip.people import LASHES, SKIN, TEETH, TONGUE, eyeball, smooth, turned
from tests.demo_clip.render import Mesh, Strands, Studio

NECK = np.array([0.0, 5.95, 0.1])  # what the head turns about, in the base mesh
HAIR_WIDTH, BROW_WIDTH, LASH_WIDTH = 0.0145, 0.0038, 0.003  # half of a strand's, decimeters
SKY_DIRECTIONS = 28


@dataclass(frozen=True)
class Looks:
    """The appearance of a person. Colors are linear RGB."""

    shape: dict[str, float]
    skin: tuple[float, float, float]
    lips: tuple[float, float, float]
    iris: tuple[float, float, float]
    hair: tuple[float, float, float]
    shirt: tuple[float, float, float]
    style: str  # of the hair: "bob" or "short"
    beard: float = 0.0  # 0..1
    brow: float = 1.0  # thickness


class Person:
    """One of the demo's people, in a studio."""

    def __init__(self, studio: Studio, looks: Looks, seed: int):
        self.looks, random = looks, np.random.default_rng(seed)
        base, quads, quad_uvs, kinds, uvs = people.base()
        self.shaped = base + people.shape(looks.shape)
        self.finer, self.quads = people.subdivision(quads, len(base))
        self.kinds, self.rest = np.repeat(kinds, 4), self.finer @ base
        vertex_uvs = np.zeros((len(base), 2))
        vertex_uvs[quads.ravel()] = uvs[quad_uvs.ravel()]
        self.uvs = self.finer @ vertex_uvs
        self.kind = np.zeros(len(self.rest), int)
        self.kind[self.quads.ravel()] = np.repeat(self.kinds, 4)
        self.is_skin = np.isin(np.arange(len(self.rest)), np.unique(self.quads[self.kinds == SKIN]))
        self.neck_share = np.where(self.kind == SKIN, smooth(5.55, 6.5, self.rest[:, 1] + 0.25 * self.rest[:, 2]), 1.0)
        self.eyes_at = np.mean([eyeball(self.shaped, sign)[:3] for sign in (1, -1)], axis=0)
        self.neck = NECK + (self.shaped - base)[quads.ravel()].mean(0)
        masks, more, is_scalp = self._masks()
        neutral = self._places(self.shaped)
        head = Head(neutral, people.normals(neutral, self.quads), self.rest, self.quads, self.is_skin, is_scalp, self.shaped)
        hair, brightness = grow(head, looks.style, random)
        self.brows_on_skin = Brows(head, looks.brow, random)
        brows, lids = self.brows_on_skin.points(head.places, head.normals), lashes(self.shaped)
        self.brows = Strands(studio, brows, random.uniform(0.6, 1.0, len(brows)), np.full(brows.shape[:2], 0.8))
        self.lashes = Strands(studio, lids, np.full(len(lids), 0.3), np.full(lids.shape[:2], 0.3))
        masks[:, 2], sky = self._sky(studio, head, hair, masks, more)
        self.hair = Strands(studio, hair, brightness, sky)
        self.mesh = Mesh(studio, self.quads[self.kinds != LASHES], self.rest, masks, more)

    def _texture(self, name: str) -> np.ndarray:
        """A mask painted on MakeHuman's skin, 0..1, at every vertex."""
        image = cv2.imread(str(people.data() / f"mpfb2/textures/mpfb_{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        image = cv2.GaussianBlur(image, (0, 0), 1.5)
        x, y = np.clip((self.uvs * [1, -1] + [0, 1]).T * 2047, 0, 2047).astype(int)
        return image[y, x] / 255.0 * self.is_skin

    def _masks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The shader's vertex attributes, (W, 4) twice (see render.py), and whether hair grows there, (W,).

        Places are those of the base mesh, so that they are the same for everybody.
        """
        x, y, z = self.rest.T
        side, ears, lips, inside = np.abs(x), self._texture("ears"), self._texture("lips"), self._texture("inside-mouth")
        jaw = smooth(6.98, 6.80, y) * smooth(6.05, 6.30, y + 0.25 * z) * smooth(0.1, 0.5, z)
        mustache = smooth(0.36, 0.25, side) * smooth(6.66, 6.72, y) * smooth(6.97, 6.88, y) * smooth(1.2, 1.4, z)
        beard = self.looks.beard * np.maximum(jaw * smooth(0.95, 0.75, y - 6.2 - 0.5 * side), mustache) * (1 - lips)
        blush = 0.55 * np.exp(-(((side - 0.47) / 0.2) ** 2 + ((y - 6.98) / 0.17) ** 2)) * (z > 0.6)
        blush += 0.45 * np.exp(-((side / 0.13) ** 2 + ((y - 6.98) / 0.14) ** 2)) * (z > 1.3) + 0.25 * ears
        blush += 0.25 * np.exp(-(((side - 0.3) / 0.2) ** 2 + ((y - 7.28) / 0.1) ** 2)) * (z > 0.9)
        collar = 5.62 + 0.25 * smooth(0.5, -0.6, z) + 0.12 * smooth(0.4, 0.9, side)
        above = np.where(self.is_skin, y - collar, 1.0)
        self.shirt = smooth(0.04, -0.03, above)
        front = 7.93 + 0.05 * np.cos(7 * side) - 0.35 * np.clip(side - 0.42, 0, 1) - (0.10 if self.looks.style == "bob" else 0.02)
        hairline = np.where(z > 0.55, front, np.where(z > 0.25, 7.25, 6.72 + 0.12 * (z + 0.4)))
        is_scalp = (y > hairline) & (ears < 0.3) & self.is_skin
        scalp = is_scalp * 0.9 * np.where(z > 0.2, smooth(7.5, 7.75, y), 1.0)
        return np.stack([lips, inside, np.ones(len(x)), self.kind], 1), np.stack([beard, blush, above, scalp], 1), is_scalp

    def _places(self, coarse: np.ndarray) -> np.ndarray:
        """The subdivided vertices (W, 3) of a coarse mesh (V, 3), with the arms hanging down."""
        fine = self.finer @ coarse
        for sign in (1, -1):
            shoulder = np.argmin(np.linalg.norm(self.rest - [1.55 * sign, 5.55, 0.0], axis=1))
            share = smooth(1.1, 2.2, sign * self.rest[:, 0]) * self.is_skin
            fine = turned(fine, np.array([0, 0, -0.55 * sign]), share, (self.finer[shoulder] @ self.shaped)[0])
        return fine

    def _sky(
        self, studio: Studio, head: Head, hair: np.ndarray, masks: np.ndarray, more: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The unoccluded share of the sky above each vertex of the person at rest (W,) and each point of the hair (N, K)."""
        mesh = Mesh(studio, self.quads[self.kinds != LASHES], self.rest, masks, more)
        mesh.move(head.places, head.normals)
        strands = Strands(studio, hair, np.ones(len(hair)), np.ones(hair.shape[:2]))
        drawn = [(mesh, {}), (strands, {"head": np.eye(4), "width": HAIR_WIDTH})]
        middle, total, seen, thick = np.array([0, head.places[head.is_scalp].mean(0)[1] - 0.8, 0.3]), 1e-9, 0.0, 0.0
        golden, points = np.pi * (3 - 5 ** 0.5), hair.reshape(-1, 3)
        for i in range(SKY_DIRECTIONS):
            up = 1 - 1.35 * (i + 0.5) / SKY_DIRECTIONS
            direction = np.array([np.sqrt(1 - up * up) * np.cos(golden * i), up, np.sqrt(1 - up * up) * np.sin(golden * i)])
            sees = studio.sees(direction, middle, 3.0, drawn)
            cos = np.clip(head.normals @ direction, 0, 1)
            seen, total = seen + cos * sees(head.places + 0.05 * head.normals), total + cos
            thick = thick + sees(points + 0.03 * direction) / SKY_DIRECTIONS
        sky = np.where(total > 0.5, seen / np.maximum(total, 0.5), 0.4)
        mouth = np.isin(self.kind, (TEETH, TONGUE))  # it is closed at rest, and dark only at its corners when it is open
        x, _, z = self.rest.T
        sky[mouth] = (0.75 * smooth(0.9, 1.4, z) * smooth(0.34, 0.12, np.abs(x)))[mouth]
        return np.clip(sky * 1.12, 0.03, 1), np.clip(1.5 * thick.reshape(hair.shape[:2]), 0.05, 1)

    def pose(self, units: dict[str, float], angles: tuple, at: tuple, gaze: tuple = (0.0, 0.0)) -> list:
        """The meshes and strands of this person in a pose.

        units: face units and how much of each; angles: pitch, yaw and roll of the head in degrees; at: where the middle between
        the eyes is while the head is upright, decimeters; gaze: degrees to the image's right and up.
        """
        coarse = self.shaped + people.shape({f"faceunits/{name}": weight for name, weight in units.items()})
        places = self._places(coarse)
        normals = people.normals(places, self.quads)
        way, offset = np.radians(angles), np.array(at) - self.eyes_at

        def put(points: np.ndarray, share: np.ndarray | float = 1.0) -> np.ndarray:
            return turned(points.reshape(-1, 3), way, share, self.neck).reshape(points.shape) + offset

        self.brows.move(put(self.brows_on_skin.points(places, normals)))
        self.lashes.move(put(lashes(coarse)))
        places = put(places + normals * (0.055 * self.shirt[:, None]), self.neck_share)
        self.mesh.move(places, people.normals(places, self.quads))
        eyes = np.array([eyeball(coarse, sign) for sign in (1, -1)])
        eyes[:, :3] = put(eyes[:, :3])
        head = np.eye(4)
        head[:3, :3], head[:3, 3] = turned(np.eye(3), way, 1.0, np.zeros(3)).T, put(np.zeros((1, 3)))[0]
        yaw, pitch = np.radians(gaze)
        look = head[:3, :3] @ [np.sin(yaw), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
        looks = self.looks
        colors = {"skin": looks.skin, "lips": looks.lips, "shirt": looks.shirt, "iris": looks.iris, "hair": looks.hair}
        fine = {**colors, "hair": np.array(looks.hair) * 0.8, "head": np.eye(4)}
        return [(self.mesh, {**colors, "eyes": eyes, "gaze": [look, look]}),
                (self.hair, {**colors, "head": head, "width": HAIR_WIDTH}),
                (self.brows, {**fine, "width": BROW_WIDTH}), (self.lashes, {**fine, "width": LASH_WIDTH})]
