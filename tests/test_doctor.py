"""The doctor: findings on an intact machine, and robustness on a broken one."""

import errno
import io
import json
import os
import shutil
import struct
import subprocess
import sys

import pytest

from fer_live.doctor import __main__ as doctor
from fer_live.doctor import cameras, machine, probes, processes, runtimes
from fer_live.doctor.machine import FAILURE, OK, WARNING
from tests.conftest import ROOT


def levels(findings):
    return [finding.level for finding in findings]


def test_intact_machine_is_ok():
    """The test environment has all requirements."""
    for check in (machine.python, machine.model_file, probes.opencv, probes.detectors, probes.video, runtimes.torchvision,
                  runtimes.timm, runtimes.onnx, probes.model):
        findings = list(check())
        assert findings and set(levels(findings)) == {OK}, findings
    output = next(probes.model()).text
    assert "happy" in output and "efficientnet_lite0" in output
    assert {finding.name for finding in runtimes.torch()} == {"torch", "cuda"}
    names = [(module, name) for module, todos in doctor.CHECKS for name in todos]
    assert set(processes.OPTIONAL) < {name for _, name in names}
    known = {"machine": machine.CHECKS, "probes": probes.CHECKS, "runtimes": runtimes.CHECKS,
             "cameras": {"cameras": cameras.cameras}}
    assert all(name in known[module] for module, name in names), "every check exists"
    assert sum(map(len, known.values())) == len(names) == len(set(names)), "and every one is run once"


BROKEN = {
    "numpy": "raise ImportError('libfoo.so.1: cannot open shared object file')", "cv2": "def (",
    "av": "import os; os.abort()", "torch": "raise SystemExit(0)", "torchvision": "1 / 0", "timm": "import time; time.sleep(600)",
    "onnxruntime": "import os; os._exit(0)", "tqdm": "raise KeyError('tqdm')",
}


@pytest.mark.slow
def test_reports_findings_when_everything_is_broken(tmp_path):
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "fer_live.doctor", "--timeout", "10", "--json", str(tmp_path / "out.json")], cwd=ROOT, timeout=60,
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path), "DISPLAY": ""})
    assert done.returncode == 1 and done.stderr == ""
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["status"] == FAILURE
    found = {check["name"]: check for check in result["checks"] if check["level"] != OK}
    assert "SyntaxError" in found["opencv"]["text"] and "cv2.py" in found["opencv"]["text"]
    assert "SIGABRT" in found["video"]["text"] and "pip install" in found["video"]["todo"]
    assert "SystemExit" in found["torch"]["text"] and "hung" in found["timm"]["text"]
    assert found["onnx"]["level"] == WARNING, "optional parts are not failures"
    assert "libfoo.so.1" in found["model"]["text"] and "system's package" in found["model"]["todo"]
    assert found["program"]["level"] == FAILURE and found["cameras" if "cameras" in found else "display"]["level"] == WARNING
    assert [c["level"] for c in result["checks"] if c["name"] == "model file"] == [OK], "intact parts are still reported"
    assert all(check["todo"] and "\n" not in check["text"] + check["todo"] for check in found.values())
    assert "FAILURE video" in done.stdout and f"{result['counts'][FAILURE]} failures" in done.stdout.split("\n")[0]


def test_crash_keeps_earlier_findings(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text("import os; os.kill(os.getpid(), 11)")
    shutil.copytree(ROOT / "fer_live", tmp_path / "fer_live", ignore=shutil.ignore_patterns("__pycache__", "assets"))
    text = (tmp_path / "fer_live" / "doctor" / "machine.py").read_text()
    text = text.replace("def display() -> Iterator[Finding]:", "def display():\n    yield Finding('display', OK, 'first')\n"
                        "    os.kill(os.getpid(), 11)")
    (tmp_path / "fer_live" / "doctor" / "machine.py").write_text(text)
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    first, second = processes.run_group("machine", {"display": "do this"}, 20.0)
    assert (first.level, first.text) == (OK, "first")
    assert second.level == WARNING and "SIGSEGV" in second.text and second.todo == "do this"
    findings = processes.run_group("machine", {"python": "", "display": "", "model_file": ""}, 20.0)
    assert [f.name for f in findings] == ["python", "display", "display", "model file"], "later checks still run"


@pytest.mark.slow
def test_torch_checks_share_one_import_and_a_hang_affects_only_one_of_them(tmp_path, monkeypatch):
    """Importing torch takes two seconds, so its checks share a process; a fault in one must not affect the others."""
    groups = [set(todos) for module, todos in doctor.CHECKS if module in ("probes", "runtimes")]
    assert {"torch", "torchvision", "timm"} in groups
    assert all(len(group) == 1 for group in groups if "torch" not in group), "the others run in separate processes"
    (tmp_path / "torch.py").write_text("raise SystemExit(0)")
    (tmp_path / "timm.py").write_text("import time\ntime.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = dict.fromkeys(("torch", "timm", "onnx"), "")
    torch, timm, onnx = processes.run_group("runtimes", names, 5.0)
    assert "SystemExit" in torch.text and "hung for 5 s" in timm.text and onnx.level == OK


def test_status_and_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "CHECKS", (("machine", {"python": "", "model_file": ""}),))
    assert doctor.main([]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("fer_live runs here: no problems found; checked in ")
    assert second == "ok      python, model file (details with --verbose)"
    assert doctor.main(["--verbose"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("fer_live runs here") and others[0].startswith("ok      python: 3.") and others[0].endswith(" s]")
    assert others[1].startswith("ok      model file: ") and len(others) == 2
    assert doctor.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == OK, "nothing but JSON on stdout"
    assert doctor.main(["--json", str(tmp_path / "no" / "x.json")]) == 2
    assert "cannot write" in capsys.readouterr().err
    for wrong in ("0", "nan", "soon"):
        with pytest.raises(SystemExit) as end:
            doctor.main(["--timeout", wrong])
        assert end.value.code == 2 and "seconds" in capsys.readouterr().err
    monkeypatch.setattr(doctor, "CHECKS", (("machine", {"nothing": "fix it"}),))
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert out.startswith("fer_live does not run here: 1 failure (nothing); checked in ") and "FAILURE nothing" in out
    assert "-> fix it" in out


def test_notice_is_shown_on_a_terminal_and_erased_afterward(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", (("machine", {"python": ""}),))
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(doctor.sys, "stderr", terminal)
    assert doctor.main(["--json"]) == 0 and json.loads(capsys.readouterr().out)["verdict"].startswith("fer_live runs here")
    notice, blank, rest = terminal.getvalue().split("\r")
    assert notice == "checking ..." and blank == " " * len(notice) and rest == ""


def test_verdict_names_the_fault():
    found = [machine.Finding(name, level, "") for name, level in
             (("disk", WARNING), ("disk", WARNING), ("cameras", WARNING), ("video", FAILURE), ("python", OK))]
    assert doctor._verdict(found, 3.04) == ("fer_live does not run here: 1 failure (video) and 3 warnings (disk, cameras); "
                                            "checked in 3.0 s")
    assert doctor._verdict(found[:1], 3.0) == "fer_live runs here, with 1 warning (disk); checked in 3.0 s"
    assert doctor._details(found, False).splitlines()[-1] == "ok      python (details with --verbose)"


def test_output_has_no_terminal_escapes():
    line = doctor._lines(machine.Finding("cameras", OK, "\x1b[31mevil\ncamera\u202e", "x\ry"))
    assert "\x1b" not in line and "\u202e" not in line and "\r" not in line and line.count("\n") == 2


# ------------------------------------------------------------------------------------------------ faults


def dist_info(folder, name, version, *more):
    path = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    path.mkdir()
    (path / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more]) + "\n")


def test_detects_incompatible_packages(tmp_path, monkeypatch):
    dist_info(tmp_path, "opencv-python-headless", "4.12.0.88")
    dist_info(tmp_path, "torch", "2.13.0")
    dist_info(tmp_path, "torchvision", "0.29.1", "Requires-Dist: torch==2.14.1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bad = {f.text: f for f in processes.run_group("machine", {"packages": ""}, 30.0) if f.level != OK}
    beside = next(f for text, f in bad.items() if "headless beside opencv-contrib-python" in text)
    assert beside.level == WARNING and beside.todo.startswith("pip uninstall -y opencv-python-headless opencv-contrib-python &&")
    pair = next(f for text, f in bad.items() if "made for torch 2.14.1, but torch 2.13.0" in text)
    assert pair.level == FAILURE and "torchvision==" in pair.todo
    assert any(text.startswith("torch is 2.13.0, but ") for text in bad)


def test_detects_missing_packages(monkeypatch):
    gone, there = {"av", "opencv-contrib-python", "python-xlib", "onnx"}, machine.installed
    monkeypatch.setattr(machine, "installed", lambda name: None if name in gone else there(name))
    found = list(machine.packages())
    assert {f.text for f in found if f.level == FAILURE} == {"opencv-contrib-python is not installed", "av is not installed"}
    assert "python-xlib is not installed" in {f.text for f in found if f.level == WARNING}
    assert any(f"av=={machine.pins()['av']}" in f.todo for f in found)
    assert "not installed: onnx" in next(f.text for f in found if f.name == "optional packages")


def test_detects_av_imported_before_cv2(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "sitecustomize.py").write_text("import av")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = processes.run_group("probes", {"program": ""}, 60.0)
    assert finding.level == FAILURE and "before cv2" in finding.text and "sitecustomize" in finding.todo
    monkeypatch.delenv("PYTHONPATH")
    assert levels(processes.run_group("probes", {"program": ""}, 60.0)) == [OK]


def test_detects_opencv_without_cascades(monkeypatch):
    import cv2

    monkeypatch.setattr(cv2.data, "haarcascades", "/nowhere/")
    (finding,) = probes.detectors()
    assert finding.level == FAILURE and "no Haar cascade" in finding.text and "opencv-contrib-python==" in finding.todo
    monkeypatch.undo()
    monkeypatch.setattr(cv2, "__version__", "5.0.0")
    (finding,) = probes.opencv()
    assert finding.level == WARNING and "overwritten" in finding.text


def test_detects_a_failing_detector_and_model(monkeypatch):
    import numpy as np

    monkeypatch.setattr(probes, "_portrait", lambda: np.full((512, 512, 3), 90, np.uint8))
    assert levels(probes.detectors()) == [FAILURE, FAILURE], "Haar and YuNet"
    assert levels(probes.model()) == [FAILURE]


def test_detects_a_damaged_yunet_file(tmp_path, monkeypatch):
    from fer_live.model import yunet_network

    path = tmp_path / "face.onnx"
    path.write_bytes(yunet_network.WEIGHTS.read_bytes()[:-1])
    monkeypatch.setattr(yunet_network, "WEIGHTS", path)
    yunet_network._weights.cache_clear()
    haar, second = probes.detectors()
    yunet_network._weights.cache_clear()
    assert haar.level == OK and second.level == FAILURE and "SHA-256" in second.text and "install" in second.todo


def test_detects_damaged_weights(tmp_path, monkeypatch):
    for name in ("best_model.pt", "best_model.json"):
        shutil.copy(machine.WEIGHTS / name, tmp_path)
    monkeypatch.setattr(machine, "WEIGHTS", tmp_path)
    assert levels(machine.model_file()) == [OK]
    content = bytearray((tmp_path / "best_model.pt").read_bytes())
    content[1000] ^= 1
    (tmp_path / "best_model.pt").write_bytes(content)
    (finding,) = machine.model_file()
    assert finding.level == FAILURE and "install it again" in finding.todo
    (tmp_path / "best_model.json").write_text("{")
    assert levels(machine.model_file()) == [WARNING]
    (tmp_path / "best_model.pt").unlink()
    assert levels(machine.model_file()) == [FAILURE]


def test_unusable_gpu_is_a_warning(monkeypatch):
    monkeypatch.setattr(runtimes.shutil, "which", lambda name: f"/usr/bin/{name}")
    for build, todo in (("13.0", "nvidia-smi"), (None, "pip install --force-reinstall torch==")):
        finding = runtimes._no_cuda(build)
        assert finding.level == WARNING and todo in finding.todo


def test_detects_a_full_disk(monkeypatch):
    for free, level in ((50e6, FAILURE), (1e9, WARNING), (9e9, OK)):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path, free=free: shutil._ntuple_diskusage(1, 1, int(free)))
        assert set(levels(machine.disk())) == {level}


def test_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.sys, "platform", "linux")
    assert levels(machine.display()) == [WARNING]
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    (finding,) = machine.display()
    assert finding.level == WARNING and "Xwayland" in finding.todo
    monkeypatch.setenv("DISPLAY", ":0")
    assert levels(machine.display()) == [OK]


# ------------------------------------------------------------------------------------------------ cameras

FORMATS = {"MJPG": {(1280, 720): (30, 15), (640, 480): (60,)}, "YUYV": {(640, 480): (30,)}}


def kernel(caps=0x1, formats=FORMATS, stepwise=False):
    """A fake ioctl for one camera."""

    def refuse():
        raise OSError(errno.EINVAL, "Invalid argument")

    def ioctl(device, request, buffer):
        index, code = struct.unpack_from("<2I", buffer)
        name = struct.pack("<I", code).decode("ascii", "replace")
        if request == 0x80685600:
            struct.pack_into("<16s32s32s3I", buffer, 0, b"uvcvideo", b"Cam \xc3\x84", b"usb-1", 0, 0x84A00001, caps)
        elif request == 0xC0405602:
            if code != 1 or index >= len(formats):
                refuse()
            struct.pack_into("<32s4s", buffer, 12, b"name", list(formats)[index].encode())
        elif request == 0xC02C564A:
            sizes = list(formats[name])
            if index >= (1 if stepwise else len(sizes)):
                refuse()
            struct.pack_into("<7I", buffer, 8, *((3, 16, 1920, 8, 16, 1080, 8) if stepwise else (1, *sizes[index], 0, 0, 0, 0)))
        elif request == 0xC034564B:
            rates = () if stepwise else formats[name][struct.unpack_from("<2I", buffer, 8)]
            if index >= len(rates):
                refuse()
            struct.pack_into("<3I", buffer, 16, 1, 1, rates[index])

    return ioctl


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """devices("video0", ...) creates /dev and /sys/class/video4linux in a folder."""
    monkeypatch.setattr(cameras.sys, "platform", "linux")
    dev, sysfs = tmp_path / "dev", tmp_path / "sys"
    dev.mkdir()

    def make(*names, shown=True):
        for name in names:
            (sysfs / name).mkdir(parents=True)
            (sysfs / name / "name").write_text(f"Webcam of {name}\n")
            if shown:
                (dev / name).write_text("")
        return dev, sysfs

    return make


def test_lists_cameras_with_names_and_modes(devices):
    dev, sysfs = devices("video0", "video10", "video2")
    findings = list(cameras.cameras(dev, sysfs, kernel()))
    assert [f.text.split(":")[0] for f in findings] == [str(dev / n) for n in ("video0", "video2", "video10")]
    assert set(levels(findings)) == {OK}
    assert "Cam \u00c4; MJPG 1280x720 30 fps, 640x480 60 fps; YUYV 640x480 30 fps" in findings[0].text
    (finding,) = list(cameras.cameras(dev, sysfs, kernel(stepwise=True)))[:1]
    assert "MJPG 1920x1080; YUYV 1920x1080" in finding.text


def test_no_camera_is_a_warning(devices):
    dev, sysfs = devices()
    (finding,) = cameras.cameras(dev, sysfs, kernel())
    assert finding.level == WARNING and "demo" in finding.text and finding.todo
    dev, sysfs = devices("video0", shown=False)
    (finding,) = cameras.cameras(dev, sysfs, kernel())
    assert finding.level == WARNING and "container" in finding.todo
    (dev / "video0").write_text("")
    (finding,) = cameras.cameras(dev, sysfs, kernel(caps=0x800000))  # a device of metadata only
    assert finding.level == WARNING and "none of video0 captures images" in finding.text
    (finding,) = cameras.cameras(dev, sysfs)  # the real kernel reports that a file is not a camera
    assert finding.level == WARNING and "does not respond as a camera" in finding.text


def test_camera_without_permission_is_a_failure(devices, monkeypatch):
    dev, sysfs = devices("video0")

    def denied(path, flags):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cameras.os, "open", denied)
    monkeypatch.setattr(cameras.os, "getgroups", list)
    (finding,) = cameras.cameras(dev, sysfs, kernel())
    assert finding.level == FAILURE and "Webcam of video0" in finding.text and "usermod -aG" in finding.todo


def test_camera_in_use_names_the_program(devices):
    dev, sysfs = devices("video0")
    with open(dev / "video0"):
        (finding,) = cameras.cameras(dev, sysfs, kernel())
    assert finding.level == WARNING and f"({os.getpid()})" in finding.text
