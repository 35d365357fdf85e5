"""Renders people with OpenGL: skin with subsurface scattering, shadows, and hair as thousands of strands.

Needs moderngl, but no GPU: Mesa's software renderer is sufficient.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import moderngl
import numpy as np

SUPER = 1.5  # the image is drawn larger by this, and reduced: Mesa's own multisampling takes thrice the time
SHADOW_SIDE = 1024  # pixels
KEY, RIM = np.array([-0.55, 0.62, 0.95]), np.array([0.8, 0.45, -0.75])  # toward the lights
KEY, RIM = KEY / np.linalg.norm(KEY), RIM / np.linalg.norm(RIM)
CAMERA_Z, MIDDLE_Y, VIEW_H = 13.0, 6.82, 5.0  # decimeters: the camera's distance, and what it sees at z = 0

LIGHT = """
uniform vec3 key; uniform vec3 rim; uniform mat4 shadow_mvp; uniform sampler2D shadow_map;
float lit(vec3 p, vec3 n) {  // 0: in the shadow of the key light
    vec4 q = shadow_mvp * vec4(p + 0.04 * n, 1.0); vec3 s = q.xyz * 0.5 + 0.5; float sum = 0.0;
    for (int i = -1; i <= 1; i++) for (int j = -1; j <= 1; j++)
        sum += texture(shadow_map, s.xy + vec2(i, j) * 1.3 / 1024.0).r > s.z - 0.003 ? 1.0 : 0.0;
    return sum / 9.0;
}
float lit_roughly(vec3 p, vec3 n) {
    vec3 s = (shadow_mvp * vec4(p + 0.04 * n, 1.0)).xyz * 0.5 + 0.5;
    return texture(shadow_map, s.xy).r > s.z - 0.003 ? 1.0 : 0.0;
}
uniform sampler3D grain;
float noise(vec3 p) { return texture(grain, p / 32.0).r; }
vec3 film(vec3 c) { c *= 1.05; return pow(c * (2.51 * c + 0.03) / (c * (2.43 * c + 0.59) + 0.14), vec3(1.0 / 2.2)); }
"""
MESH_VERTEX = """#version 330
uniform mat4 mvp; in vec3 in_place; in vec3 in_normal; in vec3 in_rest; in vec4 in_masks; in vec4 in_more;
out vec3 place; out vec3 normal; out vec3 rest; out vec4 masks; out vec4 more;
void main() {
    place = in_place; normal = in_normal; rest = in_rest; masks = in_masks; more = in_more;
    gl_Position = mvp * vec4(in_place, 1.0);
}
"""
# masks: lips, inside of the mouth, open sky (ambient occlusion), kind; more: beard, blush, height above the collar, scalp
MESH_FRAGMENT = "#version 330\n" + LIGHT + """
uniform vec3 eye; uniform vec3 skin; uniform vec3 lips; uniform vec3 shirt; uniform vec3 iris; uniform vec3 hair;
uniform vec4 eyes[2]; uniform vec3 gaze[2];  // center and radius; where each looks
in vec3 place; in vec3 normal; in vec3 rest; in vec4 masks; in vec4 more; out vec4 color;
void main() {
    vec3 n = normalize(normal), v = normalize(eye - place), base = skin; int kind = int(masks.w + 0.5);
    float gloss = 0.35, rough = 22.0, sky = masks.z, soft = 1.0;
    if (kind == 0) {
        float blotch = noise(rest * 9.0) * 0.6 + noise(rest * 27.0) * 0.4, pores = noise(rest * 150.0);
        base *= 0.93 + 0.14 * blotch; base *= 0.97 + 0.06 * pores;
        base = mix(base, base * vec3(1.08, 0.74, 0.70), more.y * (0.7 + 0.5 * blotch));
        base = mix(base, base * vec3(0.62, 0.63, 0.66), more.x * (0.75 + 0.4 * pores));
        base = mix(base, lips * (0.9 + 0.2 * noise(rest * vec3(60.0, 14.0, 40.0))), masks.x);
        base = mix(base, vec3(0.30, 0.055, 0.05), masks.y); sky *= 1.0 - 0.75 * masks.y;
        base = mix(base, hair * 0.6, more.w * 0.92);
        gloss = mix(gloss, 0.9, masks.x); rough = mix(rough, 45.0, masks.x); gloss *= 1.0 - 0.8 * more.w;
        n = normalize(n + 0.05 * (vec3(noise(rest * 120.0), noise(rest * 120.0 + 9.0), noise(rest * 120.0 + 23.0)) - 0.5));
        if (more.z < 0.0) {
            base = shirt * (0.9 + 0.12 * noise(rest * 70.0) + 0.05 * noise(rest * 4.0)); gloss = 0.04; soft = 0.2;
        }
    } else if (kind == 1) {
        int side = rest.x > 0.0 ? 0 : 1;
        float d = length(normalize(place - eyes[side].xyz) - gaze[side]);
        float veins = noise(rest * 60.0);
        base = mix(vec3(0.52, 0.48, 0.46), vec3(0.45, 0.31, 0.29), smoothstep(0.8, 1.2, d) * (0.6 + 0.4 * veins));
        float rays = 0.75 + 0.5 * noise(vec3(atan(place.y - eyes[side].y, place.x - eyes[side].x) * 9.0, d * 8.0, 1.0));
        base = mix(mix(iris * 1.0, iris * 0.3, smoothstep(0.30, 0.44, d)) * rays, base, smoothstep(0.41, 0.46, d));
        base = mix(vec3(0.008), base, smoothstep(0.17, 0.20, d));
        gloss = 2.6; rough = 260.0; soft = 0.3; sky = min(1.0, sky * 1.15);
    } else if (kind == 2) { base = vec3(0.72, 0.67, 0.58); gloss = 0.7; rough = 60.0; soft = 0.4;
    } else if (kind == 3) { base = vec3(0.42, 0.13, 0.12); gloss = 0.5; }
    float shade = lit(place, n), k = dot(n, key);
    vec3 wrap = soft * vec3(0.34, 0.16, 0.10);  // red light goes farthest through skin
    vec3 through = mix(vec3(shade), vec3(1.0), soft * vec3(0.06, 0.02, 0.012) * (1.0 - shade));
    vec3 direct = clamp((vec3(k) + wrap) / (1.0 + wrap), 0.0, 1.0) * through;
    vec3 light = vec3(2.05, 1.90, 1.72) * direct + vec3(0.62, 0.72, 0.95) * 0.9 * max(0.0, dot(n, rim)) * sky;
    light += mix(vec3(0.26, 0.21, 0.18), vec3(0.52, 0.57, 0.66), 0.5 + 0.5 * n.y) * sky;
    light += vec3(0.34, 0.33, 0.34) * max(0.0, dot(n, normalize(vec3(0.8, 0.1, 0.9)))) * sky;
    float fresnel = 0.04 + 0.6 * pow(1.0 - max(dot(n, v), 0.0), 5.0);
    vec3 h = normalize(key + v), h2 = normalize(rim + v), h3 = normalize(normalize(vec3(0.8, 0.3, 0.9)) + v);
    float spec = pow(max(dot(n, h), 0.0), rough) * shade * max(k, 0.0) * 1.0 + 0.35 * pow(max(dot(n, h3), 0.0), rough) * sky;
    spec += pow(max(dot(n, h2), 0.0), rough) * 0.5 * sky;
    vec3 c = base * light + gloss * (spec * 0.30 + fresnel * 0.16 * sky);
    color = vec4(film(c), 1.0);
}
"""
HAIR_VERTEX = """#version 330
uniform mat4 mvp; uniform mat4 head; uniform vec3 eye; uniform float width;
in vec3 in_place; in vec3 in_along; in vec4 in_look;  // side, place along the strand, brightness, open sky
out vec3 place; out vec3 along; out vec4 look;
void main() {
    place = (head * vec4(in_place, 1.0)).xyz; along = normalize(mat3(head) * in_along); look = in_look;
    vec3 across = normalize(cross(along, eye - place));
    place += across * in_look.x * width * (1.0 - 0.85 * in_look.y * in_look.y); gl_Position = mvp * vec4(place, 1.0);
}
"""
HAIR_FRAGMENT = "#version 330\n" + LIGHT + """
uniform vec3 eye; uniform vec3 hair;
in vec3 place; in vec3 along; in vec4 look; out vec4 color;
void main() {
    vec3 t = normalize(along), v = normalize(eye - place);
    float tl = dot(t, key), tv = dot(t, v), tr = dot(t, rim), shade = lit_roughly(place, key);
    float diffuse = sqrt(max(0.0, 1.0 - tl * tl));
    float shine = pow(max(0.0, sqrt(max(0.0, 1.0 - tl * tl)) * sqrt(max(0.0, 1.0 - tv * tv)) - tl * tv), 26.0);
    float back = pow(max(0.0, sqrt(max(0.0, 1.0 - tr * tr)) * sqrt(max(0.0, 1.0 - tv * tv)) - tr * tv), 12.0);
    vec3 base = hair * look.z * (0.55 + 0.6 * look.y);
    vec3 c = base * (vec3(1.75, 1.62, 1.46) * diffuse * (0.25 + 0.75 * shade) + vec3(0.42, 0.45, 0.5) * look.w)
             + (hair * 1.2 + 0.02) * shine * shade * 0.9 + (hair + 0.03) * vec3(0.6, 0.7, 0.95) * back * 0.9 * look.w;
    color = vec4(film(c), 1.0);
}
"""
DEPTH_VERTEX = """#version 330
uniform mat4 mvp; in vec3 in_place; void main() { gl_Position = mvp * vec4(in_place, 1.0); }
"""
DEPTH_FRAGMENT = "#version 330\nout vec4 color; void main() { color = vec4(1.0); }"


def projection(width: int, height: int) -> np.ndarray:
    """The matrix (4, 4) from world to clip space for a camera on the z axis that sees VIEW_H at z = 0."""
    near, far, f = 2.0, 40.0, 2 * CAMERA_Z / VIEW_H
    depth = (far + near) / (near - far), 2 * far * near / (near - far)
    matrix = np.array([[f * height / width, 0, 0, 0], [0, f, 0, 0], [0, 0, *depth], [0, 0, -1, 0]])
    view = np.eye(4)
    view[1, 3], view[2, 3] = -MIDDLE_Y, -CAMERA_Z
    return matrix @ view


def toward(direction: np.ndarray, middle: np.ndarray, half: float) -> np.ndarray:
    """The matrix (4, 4) from world to the clip space of a distant light."""
    right = np.cross([0.0, 1.0, 0.01], direction)
    right /= np.linalg.norm(right)
    rows = np.stack([right, np.cross(direction, right), -direction]) / half
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rows, -rows @ middle
    return matrix


class Mesh:
    """Quads whose W vertices move."""

    def __init__(self, studio: Studio, quads: np.ndarray, rest: np.ndarray, masks: np.ndarray, more: np.ndarray):
        gl = studio.gl
        self.moving = gl.buffer(reserve=len(rest) * 24, dynamic=True)
        still = gl.buffer(np.hstack([rest, masks, more]).astype("f4").tobytes())
        self.shaded = gl.vertex_array(studio.mesh, [(self.moving, "3f 3f", "in_place", "in_normal"),
                                                    (still, "3f 4f 4f", "in_rest", "in_masks", "in_more")], _triangles(gl, quads))
        self.dark = gl.vertex_array(studio.mesh_depth, [(self.moving, "3f 12x", "in_place")], _triangles(gl, quads))

    def move(self, places: np.ndarray, normals: np.ndarray) -> None:
        """places, normals: (W, 3)."""
        self.moving.write(np.hstack([places, normals]).astype("f4").tobytes())


class Strands:
    """N strands of K points each, as ribbons that face the camera.

    brightness: (N,); sky: (N, K), how open it is above each point.
    """

    def __init__(self, studio: Studio, points: np.ndarray, brightness: np.ndarray, sky: np.ndarray):
        gl, (count, length, _) = studio.gl, points.shape
        share = np.broadcast_to(np.linspace(0, 1, length), (count, length))
        self.look = np.stack([share, np.broadcast_to(brightness[:, None], (count, length)), sky], 2)
        corner = np.arange(count)[:, None] * 2 * length + 2 * np.arange(length - 1)
        quads = np.stack([corner, corner + 1, corner + 3, corner + 2], 2).reshape(-1, 4)
        self.buffer = gl.buffer(reserve=count * length * 2 * 40)
        layout = [(self.buffer, "3f 3f 4f", "in_place", "in_along", "in_look")]
        self.shaded = gl.vertex_array(studio.hair, layout, _triangles(gl, quads))
        self.dark = gl.vertex_array(studio.hair_depth, layout, _triangles(gl, quads))
        self.move(points)

    def move(self, points: np.ndarray) -> None:
        """points: (N, K, 3)."""
        along = np.gradient(points, axis=1)
        along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9)
        sides = np.broadcast_to(np.array([[-1.0], [1.0]]), (*points.shape[:2], 2, 1))
        point, along, look = (np.repeat(part[:, :, None], 2, 2) for part in (points, along, self.look))
        self.buffer.write(np.concatenate([point, along, sides, look], 3).astype("f4").tobytes())


def _triangles(gl: moderngl.Context, quads: np.ndarray) -> moderngl.Buffer:
    return gl.buffer(np.vstack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype("i4").tobytes())


class Studio:
    """Camera, lights and framebuffer. The objects to draw are pairs (Mesh or Strands, values of its uniforms)."""

    def __init__(self, size_wh: tuple[int, int]):
        self.gl, self.size_wh = moderngl.create_context(standalone=True, require=330, backend="egl"), size_wh
        self.mesh = self.gl.program(MESH_VERTEX, MESH_FRAGMENT)
        self.mesh_depth = self.gl.program(DEPTH_VERTEX, DEPTH_FRAGMENT)
        self.hair, self.hair_depth = self.gl.program(HAIR_VERTEX, HAIR_FRAGMENT), self.gl.program(HAIR_VERTEX, DEPTH_FRAGMENT)
        large_wh = round(SUPER * size_wh[0]), round(SUPER * size_wh[1])
        self.image = self.gl.framebuffer([self.gl.renderbuffer(large_wh, 4)], self.gl.depth_renderbuffer(large_wh))
        self.shadow = self.gl.depth_texture((SHADOW_SIDE, SHADOW_SIDE))
        self.shadow.compare_func = ""
        self.shadow_view = self.gl.framebuffer(depth_attachment=self.shadow)
        noise = np.random.default_rng(0).uniform(0, 255, (32, 32, 32)).astype(np.uint8)
        self.grain = self.gl.texture3d((32, 32, 32), 1, noise.tobytes())
        self.grain.filter = moderngl.LINEAR, moderngl.LINEAR
        self.mvp = projection(*size_wh)
        for program in (self.mesh, self.hair):
            for unit, name in enumerate(("shadow_map", "grain")):
                if name in program:
                    program[name].value = unit
        self.gl.enable(moderngl.DEPTH_TEST)

    def _light_sees(self, direction: np.ndarray, middle: np.ndarray, half: float, drawn: list) -> np.ndarray:
        """Draw the view of a distant light, up to `half` from `middle`, into the shadow map; returns its matrix (4, 4)."""
        matrix = toward(direction, middle, half)
        self.shadow_view.use()
        self.shadow_view.clear(depth=1.0)
        for thing, values in drawn:
            _set(thing.dark.program, {**values, "mvp": matrix, "eye": direction * 100})
            thing.dark.render()
        return matrix

    def sees(self, direction: np.ndarray, middle: np.ndarray, half: float, drawn: list) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from points (N, 3) to whether a distant light in `direction` reaches them, (N,) 0 or 1."""
        matrix = self._light_sees(direction, middle, half, drawn)
        depth = np.frombuffer(self.shadow.read(), "f4").reshape(SHADOW_SIDE, SHADOW_SIDE)

        def reached(points: np.ndarray) -> np.ndarray:
            at = (points @ matrix[:3, :3].T + matrix[:3, 3]) * 0.5 + 0.5
            column, row = (np.clip(at[:, i] * SHADOW_SIDE, 0, SHADOW_SIDE - 1).astype(int) for i in range(2))
            return (depth[row, column] > at[:, 2] - 0.001).astype(float)

        return reached

    def draw(self, drawn: list, middle: np.ndarray) -> np.ndarray:
        """Render the objects without a background: (H, W, 4) uint8 BGRA with premultiplied alpha.

        middle: center of the region that casts shadows, 3.4 decimeters in every direction.
        """
        shadow = self._light_sees(KEY, middle, 3.4, drawn)
        lights = {"mvp": self.mvp, "eye": np.array([0, MIDDLE_Y, CAMERA_Z]), "key": KEY, "rim": RIM, "shadow_mvp": shadow}
        self.image.use()
        self.image.clear(0, 0, 0, 0, depth=1.0)
        self.shadow.use(0)
        self.grain.use(1)
        for thing, values in drawn:
            _set(thing.shaded.program, {**values, **lights})
            self.gl.enable_only(moderngl.DEPTH_TEST | (moderngl.CULL_FACE if isinstance(thing, Mesh) else 0))
            thing.shaded.render()
        width, height = self.image.size
        raw = np.frombuffer(self.image.read(components=4, alignment=1), np.uint8).reshape(height, width, 4)
        return cv2.resize(cv2.cvtColor(cv2.flip(raw, 0), cv2.COLOR_RGBA2BGRA), self.size_wh, interpolation=cv2.INTER_AREA)


def _set(program: moderngl.Program, values: dict) -> None:
    """Set the uniforms that a program has; matrices are (4, 4), row-major."""
    for name, value in values.items():
        if name in program:
            value = np.asarray(value, "f4")
            program[name].write((value.T if value.shape == (4, 4) else value).tobytes())
