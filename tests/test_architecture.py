"""The house: who may import whom, and that importing is light."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

MODULES = sorted(p for folder in ("fer_live", "models", "training") for p in (ROOT / folder).glob("*.py"))
NEVER = {"fer_live": {"training"}, "models": {"fer_live", "training"}, "training": {"fer_live"}}
KNOW_ALL = {"__init__", "__main__", "live", "files", "parts", "booth", "pipeline"}  # the parts chosen, the order of the stages
# A module too large was cut in two; text, overlay's colours and the notice are what drawing is made of; kiosk is a command.
PARTS = {
    "sources": {"demo"}, "classifier": {"runtime"}, "overlay": {"text"}, "notice": {"text"},
    "layout": {"text", "notice", "overlay"}, "privacy": {"emoji"}, "options": {"kiosk_options"}, "kiosk_options": {"labels"},
    "kiosk": {"options", "kiosk_options"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_imports_follow_the_architecture(path):
    for name in imported(path):
        assert name.split(".")[0] not in NEVER[path.parent.name], f"{path.name} imports {name}"
        leaf = path.parent.name == "fer_live" and path.stem not in KNOW_ALL
        if leaf and name.startswith("fer_live."):
            allowed = {"types", *PARTS.get(path.stem, ())}
            assert name.removeprefix("fer_live.") in allowed, f"the leaf {path.name} imports {name}"


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


def test_public_names():
    import fer_live

    assert {name: getattr(fer_live, name).__name__ for name in fer_live.__all__} == {name: name for name in fer_live.__all__}
    with pytest.raises(AttributeError):
        fer_live.nothing  # noqa: B018
