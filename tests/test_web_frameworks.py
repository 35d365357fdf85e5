"""The library in Flask, FastAPI and Jupyter, with the code of the guide."""

import json
import re
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import fer_live
from tests.conftest import ROOT


def app_of_the_guide(package):
    """The `app` of the guide's example for this package."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "fer_live" / "README.md").read_text(), re.M | re.S)
    block, = [block for block in blocks if f"from {package} import" in block]
    names: dict = {"__name__": "guide"}
    exec(compile(block, f"{package} in the guide", "exec"), names)
    return names["app"]


def posted(port, content):
    """(status, answer)"""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/faces", content, {"Content-Type": "image/png"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def check_server(port, portrait):
    """Concurrent clients get their own results, and a one-line error for invalid images."""
    fer = fer_live.load(device="cpu")
    images = [cv2.copyMakeBorder(portrait, 0, 0, left, 0, cv2.BORDER_REPLICATE) for left in (0, 80)]
    images.append(np.full((90, 120, 3), 90, np.uint8))
    bodies = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    expected = [json.loads(fer(body).to_json()) for body in bodies]
    assert [len(answer["faces"]) for answer in expected] == [1, 1, 0] and expected[0] != expected[1]
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda n: posted(port, bodies[n % 3]), range(12)))
    assert answers == [(200, expected[n % 3]) for n in range(12)]
    status, answer = posted(port, b"not an image")
    assert status == 400 and "cannot read an image of 12 bytes: damaged" in json.dumps(answer)


def test_flask_example_works(portrait):
    pytest.importorskip("flask")
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app_of_the_guide("flask"), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        check_server(server.server_port, portrait)
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def test_fastapi_example_works(portrait):
    pytest.importorskip("fastapi")
    import socket
    import time

    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app_of_the_guide("fastapi"), log_level="warning"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            end_s = time.monotonic() + 20
            while not server.started and time.monotonic() < end_s:
                time.sleep(0.02)
            check_server(listening.getsockname()[1], portrait)
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.mark.slow
def test_notebook_displays_results(tmp_path, portrait, make_clip):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cv2.imwrite(str(tmp_path / "party.jpg"), portrait)
    make_clip(tmp_path / "clip.mp4")
    cells = [f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport fer_live\nfer = fer_live.load(device='cpu')",
             "fer('party.jpg')", "fer('party.jpg').plot(bars=True)", "fer('party.jpg')[0]", "[fer('party.jpg')]",
             "fer.video('clip.mp4', output='out.mp4')", "fer('nowhere.jpg')", "print(len(list(fer.stream('clip.mp4'))))"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, allow_errors=True, resources=resources).execute()
    outputs = [cell["outputs"] for cell in notebook.cells]
    shown = [[output["data"] for output in some if "data" in output] for some in outputs]
    assert outputs[0] == [], outputs[0]
    for number in (1, 2):
        assert shown[number][0]["image/png"].startswith("iVBOR")
    assert "1 face: happy" in shown[1][0]["text/plain"] and "<progress" in shown[3][0]["text/html"]
    assert "1 face: happy" in shown[4][0]["text/plain"] and "24 frames" in shown[5][0]["text/html"]
    assert "24/24" in "".join(output.get("text", "") for output in outputs[5]), "the progress bar"
    error, = outputs[6]
    assert error["ename"] == "SourceError" and "cannot read nowhere.jpg: no such file" in error["evalue"]
    assert outputs[7][0]["text"] == "24\n"
