"""Peer benchmark: the package `fer` in its own environment, on the same clip as this program's log-only run."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

from fer_live.bench import peer_script
from fer_live.bench.file import log_only_s, make_clip, true_faces, true_in_log
from fer_live.bench.measure import median_of
from fer_live.bench.scenes import Scene
from fer_live.bench.settings import Settings

logger = logging.getLogger("fer_live")

VERSION = "import importlib.metadata as m, fer.fer; print(m.version('fer'))"


def measure(python: Path, model: Path, device: str, settings: Settings) -> dict:
    """Return frames per second and true faces of both, alternating on a 640x360 clip; {"note": ...} if `fer` fails to start."""
    asked = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, check=False)
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {"note": f"fer does not run in {python} ({reason}); {python} -m pip install fer==25.10.3 "
                        "'setuptools<81', since fer imports pkg_resources, which later ones have not"}
    frames, scene, runs = settings.peer_frames, Scene(1, (640, 360)), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = make_clip(folder, scene, frames)
        for repeat in range(settings.repeats):
            logger.info(f"peer, run {repeat + 1} of {settings.repeats}")
            log = folder / f"{repeat}.jsonl"
            took_s, theirs = log_only_s(clip, log, model, device), run_peer(python, clip, folder)
            if len(theirs["boxes"]) != frames:
                raise RuntimeError(f"fer read {len(theirs['boxes'])} of the clip's {frames} frames")
            runs.append({
                "ours_per_s": frames / took_s, "peer_per_s": frames / theirs["seconds"], "ratio": theirs["seconds"] / took_s,
                "ours_true": true_in_log(log, scene), "peer_true": true_faces(dict(enumerate(theirs["boxes"])), scene)})
    return {"peer": f"fer {asked.stdout.strip().splitlines()[-1]}", "frames": frames, "size_wh": list(scene.size_wh),
            **median_of(runs, *runs[0]), "runs": runs}


def run_peer(python: Path, clip: Path, folder: Path) -> dict:
    """Return the peer's boxes by frame and its seconds. The script is copied, to keep this package off the peer's import path."""
    script, result = folder / "peer_script.py", folder / "peer.json"
    shutil.copyfile(Path(peer_script.__file__), script)
    done = subprocess.run([python, str(script), str(clip), str(result)], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"fer failed on the clip: {done.stderr.strip()[-500:]}")
    return json.loads(result.read_text(encoding="utf-8"))
