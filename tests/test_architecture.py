"""The import rule, module sizes, and lightweight imports."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# A package imports only from its own modules and from lower layers; root modules count as packages.
LAYERS = (
    {"redact", "letterbox", "model"},
    {"types"},
    {"protocols"},
    {"handoff"},
    {"sources", "sinks", "screen", "analysis", "outgoing"},
    {"privacy", "pipeline"},
    {"kiosk", "report", "web"},
    {"app", "library"},
    {"__main__", "bench", "doctor"},
)
LAYER = {package: number for number, layer in enumerate(LAYERS) for package in layer}
MODULES = sorted(p for folder in ("fer_live", "training") for p in (ROOT / folder).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_packages_import_only_from_lower_layers():
    wrong = []
    for path in MODULES:
        package, *inside = path.relative_to(ROOT).with_suffix("").parts
        for name in imported(path):
            top, _, part = name.partition(".")
            part = part.split(".")[0]
            if package == "training":
                allowed = top != "fer_live" or part == "model"
            elif top == "training":
                allowed = False
            elif top != "fer_live" or not part or inside == ["__init__"]:
                allowed = True
            else:
                layer = LAYER["__main__" if inside[-1] == "__main__" else inside[0]]
                allowed = part == inside[0] or LAYER[part] < layer
            if not allowed or (path.stem == "peer_script" and top == "fer_live"):  # it runs in another program's environment
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_modules_and_functions_stay_small():
    large = []
    for path in MODULES:
        text = path.read_text()
        large += [str(path)] if text.count("\n") > 270 else []
        large += [f"{path.name}: {node.name}" for node in ast.walk(ast.parse(text))
                  if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 50]
    assert not large


def test_interfaces_between_stages_are_typed():
    """The protocols are in protocols.py and model/spec.py; Any would accept anything."""
    seams, untyped = {"source", "screen", "sink", "sinks", "classifier", "detector", "recorder", "microphone", "connect"}, []
    for path in (p for p in (ROOT / "fer_live").rglob("*.py") if p.parent.name != "app"):  # mypy checks that one strictly
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                untyped += [f"{path.name}:{node.lineno} {argument.arg}" for argument in arguments
                            if argument.arg in seams and "Any" in ast.unparse(argument.annotation or ast.Name("Any"))]
    assert not untyped


def test_importing_the_package_is_lightweight():
    code = "import sys, fer_live, fer_live.app.options, fer_live.model.checkpoint, training.recipes; print('timm' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_doctor_imports_only_the_standard_library():
    code = ("import sys; before = set(sys.modules); from fer_live.doctor import __main__, machine, cameras, probes, processes; "
            "print([n for n in set(sys.modules) - before if n.split('.')[0] not in {*sys.stdlib_module_names, 'fer_live'}])")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names():
    import fer_live

    assert {name: getattr(fer_live, name).__name__ for name in fer_live.__all__} == {name: name for name in fer_live.__all__}
    with pytest.raises(AttributeError):
        fer_live.nothing  # noqa: B018


def test_a_run_imports_only_what_it_needs():
    """Imports delay the first image: the web view, HTTP, TLS, progress bars, outputs to other programs and OpenVINO's converter
    are imported only if used."""
    code = ("import sys; from fer_live.__main__ import main; "
            "main(['demo', '--no-window', '--max-seconds', '0.2', '--device', 'cpu']); "
            "print([n for n in ('jinja2', 'asyncio', 'http.client', 'ssl', 'tqdm', 'openvino.tools.ovc', 'torch', "
            "'fer_live.outgoing.mqtt', 'fer_live.outgoing.osc', 'fer_live.outgoing.lsl') if n in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"
