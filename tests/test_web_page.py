"""The page in a browser: layout on desktop and phone, accessibility, and the buttons."""

import asyncio
import contextlib
import importlib.resources
import importlib.util
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from fer_live.model.spec import EMOTIONS
from fer_live.screen.palette import contrast
from fer_live.screen.words import read_words
from fer_live.web import PageConfig
from tests.browser import CHROMIUM, browser
from tests.test_web import FACE, FITS, LIVE, TOKEN, served
from tests.test_web_controls import controlled

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
THREE = tuple(replace(FACE, track_id=number, label=label, probs=np.roll(FACE.probs, number))
              for number, label in ((1, "happy"), (2, "unsure"), (7, "sad")))
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
GERMAN = PageConfig("de", read_words("de"))
BOTTOM = "Math.round(document.getElementById('timeline').getBoundingClientRect().bottom)"


async def resize(page, name):
    width, height = SIZES[name]
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=name == "phone")


def test_timeline_is_visible_without_scrolling_and_bars_have_contrast(tmp_path):
    asyncio.run(_measure(tmp_path))


async def _measure(folder):
    async with browser(folder / "profile") as page:
        with served(faces=THREE, page=GERMAN, size_wh=(1280, 720)) as (port, _):
            await page.call("Page.navigate", url=f"http://127.0.0.1:{port}/")
            await page.until(LIVE)
            await page.until("document.querySelectorAll('#faces .face').length === 3")
            for name, (_, height) in SIZES.items():
                await resize(page, name)
                assert await page.value(FITS) and await page.value(BOTTOM) <= height, name
            assert await page.value("document.documentElement.scrollHeight") > height, "the cards continue below it"
            await resize(page, "desktop")
            assert await page.value("document.documentElement.scrollHeight") <= 900
            await page.value("for (const b of document.querySelectorAll('#faces button')) b.click()")
            for scheme in ("light", "dark"):
                await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                colors = await page.value(
                    "[...document.querySelectorAll('li:not([hidden]) .fill')].map((fill) => [fill, fill.parentNode, "
                    "fill.closest('section')].map((e) => getComputedStyle(e).backgroundColor))")
                assert len(colors) == 21
                for fill, *grounds in colors:
                    assert all(contrast(bgr(fill), bgr(ground)) >= 3 for ground in grounds), (scheme, fill, grounds)


def bgr(css):
    return tuple(map(int, re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", css).groups()))[::-1]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("axe_core_python") is None, reason="needs axe-core-python")
def test_axe_finds_nothing_on_any_page(tmp_path, monkeypatch):
    asyncio.run(_axe(tmp_path, monkeypatch))


async def _axe(folder, monkeypatch):
    axe = (importlib.resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    async with browser(folder / "profile") as page:
        with controlled(folder, monkeypatch, "0.0.0.0", log="day.jsonl") as (port, _):
            found = {}
            for path, ready in ((f"?token={TOKEN}", LIVE), ("api", "true"), ("overlay", "document.querySelector('.chip')"),
                                ("?token=wrong-but-long", "document.querySelector('form')")):
                await page.call("Page.navigate", url=f"http://127.0.0.1:{port}/{path}")
                await page.until(f"document.readyState === 'complete' && Boolean({ready})")
                if path.endswith(TOKEN):
                    await page.until("document.querySelectorAll('#faces button').length === 1")
                    await page.value("document.getElementById('phone').click()")
                for scheme in ("light", "dark"):
                    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                    await page.value(axe + "; 0")
                    found[path, scheme] = await page.value(
                        "axe.run().then((r) => r.violations.map((v) => `${v.id} ${v.nodes[0].html}`))")
            assert len(found) == 8 and not any(found.values()), found


def test_every_button_works(tmp_path, monkeypatch):
    asyncio.run(_use(tmp_path, monkeypatch))


async def _use(folder, monkeypatch):
    toast = "document.getElementById('toast').textContent"
    async with browser(folder / "profile") as page:
        await page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder / "phone"))
        with controlled(folder, monkeypatch, log="day.jsonl", language="de") as (port, outputs):
            await page.call("Page.navigate", url=f"http://127.0.0.1:{port}/?token={TOKEN}")
            await page.until(LIVE)
            await click(page, "snapshot")
            await page.until(f"{toast}.startsWith('Bild gespeichert: fer_live-')")
            assert (folder / (await page.value(toast)).split(": ")[1]).exists()
            await click(page, "record")
            await page.until(f"{toast}.startsWith('Aufnahme nach fer_live-')")
            assert outputs.view.recording and await page.value("document.getElementById('record').innerText") == "Beenden"
            await asyncio.sleep(0.3)
            await click(page, "record")
            await page.until(f"{toast}.startsWith('Aufnahme gespeichert: fer_live-')")
            assert not outputs.view.recording and await page.value("document.getElementById('record').innerText") == "Aufnehmen"
            await click(page, "log")
            async with asyncio.timeout(10):
                while not (folder / "phone" / "day.jsonl").exists():
                    await asyncio.sleep(0.1)
            assert json.loads((folder / "phone" / "day.jsonl").read_text().splitlines()[0])["frame"] == 0
            await click(page, "full")
            await page.until("document.fullscreenElement?.id === 'live'")
            await click(page, "full")
            await page.until("!document.fullscreenElement")
            await click(page, "phone")
            assert f"--serve 0.0.0.0:{port}" in await page.value("document.getElementById('dialog').innerText")
            await click(page, "close")
            await click(page, "pause")
            assert await page.value("document.getElementById('veil').textContent") == "Angehalten"
            await click(page, "pause")
            await page.until(LIVE)
        assert not [one for one in page.said if "exceptionDetails" in one]


async def click(page, name):
    await page.call("Runtime.evaluate", expression=f"document.getElementById('{name}').click()", userGesture=True)


@pytest.mark.slow
def test_page_has_one_language_one_message_and_history_after_a_reload(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_live.web.feed.STALE_S", 1.0)
    asyncio.run(_look(tmp_path))


async def _look(folder):
    seen = "Number(/Jemand war (\\d+) s/.exec(document.getElementById('summary')?.textContent)?.[1] ?? 0)"
    tip = "document.getElementById('tip').innerText"
    async with browser(folder / "profile") as page:
        with contextlib.ExitStack() as stack:
            port, camera = stack.enter_context(served(faces=THREE, page=GERMAN))
            await page.call("Page.navigate", url=f"http://127.0.0.1:{port}/")
            await page.until(f"{seen} >= 3")
            shown = await page.value("document.body.innerText")
            for word in EMOTIONS:
                assert word == "neutral" or not re.search(rf"\b{word}\b", shown), "no text in another language"
            assert "fröhlich" in shown
            await page.call("Page.reload")
            await page.until(f"{seen} > 0")
            assert await page.value(seen) >= 3
            await page.value("document.getElementById('timeline').focus()")
            for key in ("ArrowLeft", "ArrowLeft"):
                await page.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
            mean = sum(face.probs[EMOTIONS.index("happy")] for face in THREE) / 3
            assert re.search(rf"\d:\d\d:\d\d\s+3 im Bild\s.*fröhlich {mean:.0%}", await page.value(tip), re.S)
            camera.running.clear()
            await page.until("document.getElementById('veil').textContent === 'Kamera verloren, neuer Versuch läuft'")
            assert (await page.value("document.querySelector('header').innerText")).strip() == "fer_live", "reported once"
            assert "Niemand" not in await page.value("document.querySelector('.people').innerText")
