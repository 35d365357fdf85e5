"""The examples in public docstrings and in the guides run."""

import doctest
import functools
import re
import shutil
import warnings

import cv2
import numpy
import PIL.Image
import pytest

import fer_live
from tests.conftest import ROOT

GUIDES = ("README.md", "fer_live/README.md")


@pytest.fixture
def example_folder(tmp_path, make_clip, monkeypatch):
    """A folder with the files used in examples; each model is loaded once."""
    shutil.copy(ROOT / "fer_live" / "assets" / "portrait.jpg", tmp_path / "party.jpg")
    make_clip(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fer_live, "load", _load)
    return tmp_path


_load = functools.cache(fer_live.load)


@pytest.mark.parametrize("name", fer_live.__all__)
def test_docstring_examples_run(name, example_folder):
    public = getattr(fer_live, name)
    public = getattr(public, "__wrapped__", public)  # load, as it is cached here
    known = {"fer_live": fer_live, "cv2": cv2, "numpy": numpy, "PIL": PIL}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(public, name, globs=known):
        output: list[str] = []
        assert runner.run(test, out=output.append).failed == 0, "".join(output)
    assert runner.tries, f"{name} has no example"


@pytest.mark.parametrize("name", [n for n in fer_live.__all__ if not n.endswith("Error")])
def test_public_names_have_docstrings(name):
    public = getattr(fer_live, name)
    assert public.__doc__
    if isinstance(public, type):
        for method in vars(public):
            if not method.startswith("_") and callable(getattr(public, method)):
                assert getattr(public, method).__doc__, f"{name}.{method}"


@pytest.mark.parametrize("guide", GUIDES)
def test_guide_examples_run(guide, example_folder, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / guide).read_text(), re.M | re.S)
    assert blocks
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks:
            exec(compile(block, guide, "exec"), {"__name__": "guide"})
    assert "happy" in capsys.readouterr().out
