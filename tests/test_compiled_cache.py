"""The cache of compiled networks: it only saves time, whatever happens to its folder."""

import errno
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.analysis.classifier import EmotionClassifier
from fer_live.analysis.runtimes import compiled_cache
from fer_live.analysis.runtimes.compiled_cache import KEPT, CompiledCache, user_cache
from fer_live.model import DEFAULT_WEIGHTS

openvino = pytest.importorskip("openvino")
CROPS = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
RUN = ["demo", "--no-window", "--max-seconds", "0.1", "--device", "cpu"]


@pytest.fixture
def compiled(monkeypatch):
    """The networks compiled since the start of the test."""
    paths, compile_model = [], openvino.Core.compile_model
    monkeypatch.setattr(openvino.Core, "compile_model", lambda *arguments: (paths.append(1), compile_model(*arguments))[1])
    return paths


def answers(cache):
    """The probabilities of CROPS from a network that is opened with the cache and stored in it."""
    classify = EmotionClassifier(DEFAULT_WEIGHTS, "cpu", runtime="openvino", cache=cache)
    classify.store()
    return classify(CROPS)


def test_a_stored_network_gives_the_same_answers(tmp_path, compiled):
    cache = CompiledCache(tmp_path / "cache")
    first, again = answers(cache), answers(cache)
    assert len(compiled) == 1 and np.array_equal(first, again)
    assert np.array_equal(answers(None), first) and len(compiled) == 2
    (stored,) = cache.folder.iterdir()
    assert stored.stat().st_size < 2.5 * DEFAULT_WEIGHTS.stat().st_size


def with_digest(content):
    return content + hashlib.sha256(content).digest()


def test_damaged_files_are_replaced(tmp_path, compiled):
    cache = CompiledCache(tmp_path)
    first = answers(cache)
    (stored,) = tmp_path.iterdir()
    good = stored.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for damaged in (bytes(flipped), good[:-1000], b"", with_digest(b"a network of another program")):
        stored.write_bytes(damaged)
        compiled.clear()
        assert np.array_equal(answers(cache), first) and len(compiled) == 1
        assert cache.read(stored.name) is not None
    stored.unlink()
    stored.mkdir()
    assert np.array_equal(answers(cache), first) and stored.is_dir()


def test_versions_do_not_share_a_file(tmp_path, compiled, monkeypatch):
    cache = CompiledCache(tmp_path)
    answers(cache)
    monkeypatch.setattr(openvino, "__version__", "2031.0.0-1-release")
    answers(cache)
    assert len(compiled) == 2 and len([*tmp_path.iterdir()]) == 2


def test_only_the_newest_are_kept(tmp_path):
    cache = CompiledCache(tmp_path)
    (tmp_path / "a.blob.part").write_bytes(b"half of a network")  # of a killed process
    (tmp_path / "holiday.mp4").write_bytes(b"somebody's")
    for i in range(KEPT + 3):
        cache.write(f"{i}.blob", bytes([i]) * 100)
    kept = sorted(path.name for path in tmp_path.iterdir() if path.name != "holiday.mp4")
    assert (tmp_path / "holiday.mp4").exists() and len(kept) == KEPT and kept[-1] == f"{KEPT + 2}.blob"
    assert cache.read(kept[-1]).tolist() == [KEPT + 2] * 100 and cache.read("0.blob") is None


@pytest.mark.parametrize("fault", ["no folder", "no rights", "full", "nearly full", "too large"])
def test_a_folder_without_use_is_ignored(tmp_path, monkeypatch, compiled, fault):
    folder = tmp_path / "cache"

    def refuse(*_, **__):
        raise OSError(errno.EACCES if fault == "no rights" else errno.ENOSPC, "refused")

    if fault == "no folder":
        folder.write_bytes(b"a file")
    elif fault == "no rights":
        monkeypatch.setattr(Path, "mkdir", refuse)
    elif fault == "full":
        monkeypatch.setattr(Path, "write_bytes", refuse)
    elif fault == "nearly full":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 40, 100_000_000))
    else:
        monkeypatch.setattr(compiled_cache, "MOST_BYTES", 1_000_000)
    cache = CompiledCache(folder)
    assert np.array_equal(answers(cache), answers(cache)) and len(compiled) == 2
    assert folder.is_file() or not folder.exists() or not [*folder.iterdir()]


def test_the_folder_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache().folder == tmp_path / "fer_live"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert user_cache().folder == tmp_path / ".cache" / "fer_live"


def test_a_short_run_stores_the_network_but_not_with_no_store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main([*RUN, "--no-store"]) == 0 and not [*tmp_path.iterdir()]
    command = [sys.executable, "-m", "fer_live", *RUN]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert [path.suffix for path in (tmp_path / "fer_live").iterdir()] == [".blob"]
