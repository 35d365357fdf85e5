"""Headless Chromium for page tests, driven by the DevTools protocol."""

import asyncio
import base64
import contextlib
import re
import shutil
import time

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """Headless Chromium, driven by the DevTools protocol, with one page per width."""

    def __init__(self, session, socket_, process):
        self.session, self.socket, self.process, self.count, self.said = session, socket_, process, 0, []

    async def call(self, method, **params):
        self.count += 1
        await self.socket.send_json({"id": self.count, "method": method, "params": params})
        while True:
            answer = await self.socket.receive_json(timeout=20)
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.said.append(answer["params"])

    async def value(self, code):
        result = await self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, code, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not await self.value(code):
            assert time.monotonic() < deadline, (code, await self.value("document.body.innerText"), self.said)
            await asyncio.sleep(0.1)

    async def screenshot(self, path):
        path.write_bytes(base64.b64decode((await self.call("Page.captureScreenshot", captureBeyondViewport=True))["data"]))


@contextlib.asynccontextmanager
async def browser(folder, scheme="light"):
    """Start Chromium and yield it with an open page."""
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0",
        f"--user-data-dir={folder}", "about:blank", stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL)
    try:
        while not (found := re.search(rb"ws://(\S+?)/", await asyncio.wait_for(process.stderr.readline(), 30))):
            pass
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{found[1].decode()}/json") as answer:
                address = next(one["webSocketDebuggerUrl"] for one in await answer.json() if one["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket_:
                page = Browser(session, socket_, process)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                yield page
    finally:
        process.terminate()
        await process.wait()
