"""The house: who may import whom, and that importing is light."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

MODULES = sorted(p for folder in ("fer_live", "models", "training") for p in (ROOT / folder).rglob("*.py"))
NEVER = {"fer_live": {"training"}, "models": {"fer_live", "training"}, "training": {"fer_live"}}
# These choose the parts, or write the order of the stages:
KNOW_ALL = {"__main__", "live", "files", "parts", "entrance", "booth", "chain", "analyzer", "pipeline"}
ON_TOP = {"bench", "doctor", "report"}  # commands of their own: they may know all parts, and no part knows of them

# A leaf imports fer_live.types, fer_live.redact and what stands in its own package; beyond that only:
ALSO = {"classifier": {"runtimes"}, "grid": {"links"}, "privacy": {"screen"}, "options": {"kiosk_options", "baseline"},
        "kiosk_options": {"screen"}}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_imports_follow_the_architecture(path):
    for name in imported(path):
        assert name.split(".")[0] not in NEVER[path.relative_to(ROOT).parts[0]], f"{path.name} imports {name}"
        package, *_ = path.relative_to(ROOT / "fer_live").parts if path.is_relative_to(ROOT / "fer_live") else ("",)
        part = name.split(".")[1] if name.startswith("fer_live.") else ""
        is_leaf = package and path.stem not in KNOW_ALL and package not in ON_TOP
        if is_leaf and part:
            allowed = {"types", "redact", package.removesuffix(".py"), *ALSO.get(path.stem, ())}
            assert part in allowed, f"the leaf {path} imports {name}"
        assert part not in ON_TOP or part == package, f"{path.name} imports {name}"
        if path.stem == "peer_script":  # runs in another program's environment
            assert name.split(".")[0] not in ("fer_live", "models"), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_modules_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 270
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{path.name}: {node.name}"


def test_importing_the_package_is_light():
    code = "import sys, fer_live, fer_live.options, models.checkpoint, training.recipes; print('timm' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_the_doctor_and_its_checks_import_only_pythons_own_library():
    code = ("import sys; before = set(sys.modules); from fer_live.doctor import __main__, machine, cameras, probes; "
            "print([n for n in set(sys.modules) - before if n.split('.')[0] not in {*sys.stdlib_module_names, 'fer_live'}])")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names():
    import fer_live

    assert {name: getattr(fer_live, name).__name__ for name in fer_live.__all__} == {name: name for name in fer_live.__all__}
    with pytest.raises(AttributeError):
        fer_live.nothing  # noqa: B018
