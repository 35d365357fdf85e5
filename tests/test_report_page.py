"""Report pages: texts, curves, video, comparison, and in a browser tooltips, names and exports."""

import asyncio
import csv
import json
import re

import cv2
import numpy as np
import pytest

from fer_live.report.__main__ import main, make_comparison, make_report
from fer_live.report.charts import areas, axis, lines, marks
from fer_live.report.sentences import headline, spoken
from fer_live.report.session import summarize
from fer_live.report.totals import CURVE_BINS, Curve
from fer_live.report.write import link
from tests.browser import CHROMIUM, browser
from tests.test_report import Tags, face, frames, lost, write


def smiling(track_id=1, happy=0.8):
    """A face with all probabilities."""
    label = "happy" if happy > 0.4 else "sad"
    return {**face(track_id, label, max(happy, 1 - happy)), "probs": {"happy": happy, "sad": round(1 - happy, 4), "fear": 0.0}}


def data(page):
    """The data tables for a page's script."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


# ------------------------------------------------------------------------------------------------ texts


def test_headline_names_the_most_frequent_label():
    title, lead = headline(summarize(frames(*[[face(1)]] * 60, *[[face(1), face(2, "sad")]] * 20)))
    assert title == "Faces looked mostly happy (80%), then sad (20%)."
    assert lead == "In 8 seconds, people came into view 2 times, up to 2 at once."
    title, lead = headline(summarize(frames(*[[face(1, "unsure")]] * 60, *[[face(1)]] * 40)))
    assert title == "Faces looked most often happy (40%)." and "one person was in view. 60% of the time, no expression" in lead
    assert headline(summarize(frames(*[[face(1, "unsure")]] * 9)))[0].endswith("hardly any expression was clear.")


def test_headline_without_faces():
    assert headline(summarize(frames(*[[]] * 50))) == ("No face was seen.", "In 5 seconds, nobody was in view.")
    assert headline(summarize(lost(0.0, 20))) == ("The camera sent no images.", "It was lost for all of 20 seconds.")
    stills = [{"frame": i, "time_s": 0.0, "faces": [face()], "file": f"{i}.png"} for i in range(3)]
    assert headline(summarize(stills)) == ("Faces looked mostly happy (100%).", "In 3 images, 3 faces were found.")
    some = [*frames(*[[face()]] * 20), *lost(8.0, 60), {"time_s": 68.6, "faces": []}]
    assert headline(summarize(some))[1].endswith("The camera was lost for 1 minute 7 seconds.")


def test_times_in_words():
    assert [spoken(t) for t in (0.2, 1, 59, 61, 3600, 3725)] == [
        "0.2 seconds", "1 second", "59 seconds", "1 minute 1 second", "1 hour", "1 hour 2 minutes"]


# ------------------------------------------------------------------------------------------------ curves


def test_curve_is_the_time_weighted_mean_probability():
    curve = Curve(10.0)
    curve.add(10.0, 0.03, (0, 1), (0.2, 0.8))
    curve.add(10.03, 0.01, (0, 1), (0.6, 0.4))
    curve.add(10.25, 0.05, (0,), (1.0,))
    (first, second) = curve.means()
    assert first == (10.0, pytest.approx(10.1), {0: pytest.approx(0.3), 1: pytest.approx(0.7)})
    assert second == (pytest.approx(10.2), pytest.approx(10.3), {0: pytest.approx(1.0)})


def test_curve_of_any_length_has_few_bins_and_keeps_its_means():
    curve = Curve(0.0)
    for i in range(36_000):
        curve.add(i / 10, 0.1, (0,), (0.25 if i < 18_000 else 0.75,))
    means = list(curve.means())
    assert CURVE_BINS / 2 <= len(means) <= CURVE_BINS
    assert means[0][2][0] == pytest.approx(0.25, abs=1e-3) and means[-1][2][0] == pytest.approx(0.75, abs=1e-3)
    assert means[-1][1] >= 3600
    curve.coarsen(60)
    means = list(curve.means())
    assert 30 <= len(means) <= 60 and means[0][2][0] == pytest.approx(0.25, abs=1e-3) and means[-1][1] >= 3600


def test_curve_has_gaps_without_faces_and_omits_rare_classes():
    entries = frames(*[[smiling()]] * 20, 30.0, *[[smiling(happy=0.1)]] * 20)
    session = summarize(entries)
    (person,) = session.people
    drawn = {session.labels[number]: path for number, path in lines(person.curve, (0.0, session.span_s))}
    assert set(drawn) == {"happy", "sad"} and drawn["happy"].count("M") == 2
    points = [tuple(map(float, point)) for point in re.findall(r"L([\d.]+) ([\d.]+)", drawn["happy"])]
    assert points[0][1] == pytest.approx(20) and points[-1][1] == pytest.approx(90), "0.8 and 0.1, from above"
    assert all(0 <= x <= 1000 for x, _ in points) and points[-1][0] > 990


@pytest.mark.parametrize("probs", [None, [], {"happy": 2.0}, {"happy": float("nan")}, {"happy": "0.5"}, {"happy": True},
                                   {f"p{i}": 0.0 for i in range(65)}])
def test_face_with_invalid_probabilities_is_counted_without_curve(probs, tmp_path):
    entries = frames(*[[{**face(), "probs": probs}]] * 9)
    (person,) = summarize(entries).people
    assert person.frames == 9 and not list(person.curve.means())
    page = make_report(write(tmp_path / "a.jsonl", entries)).read_text()
    assert data(page)["charts"]["person-0"]["columns"] == ["start_s", "end_s", "shown"]


# ------------------------------------------------------------------------------------------------ drawings


def test_areas_are_stacked_and_end_at_gaps():
    (low, path), (high, other) = areas([{0: 0.1, 1: 0.1}, {0: 0.1}, {}, {0: 0.2}], 0.1, 0.4, 2.0, [0, 1])
    assert (low, high) == (0, 1)
    assert path == "M0 50V50H250V50H500V100H250V100H0zM750 0V0H1000V100H750z" and other == "M0 0V0H250V50H0z"


def test_axis_has_round_times():
    assert [time_s for _, time_s in axis((61.3, 64.9))] == [62, 63, 64]
    assert axis((61.3, 64.9))[0][0] == pytest.approx(100 * 0.7 / 3.6) and axis((0.0, 0.0)) == []


def test_spans_are_clipped_to_the_drawn_time():
    drawn = marks([(0.0, 10.0), (50.0, 60.0), (90.0, 99.0)], (5.0, 55.0), "camera lost")
    assert [(band.x, band.begin_s, band.end_s) for band in drawn] == [(0, 5, 10), (900, 50, 55)]
    assert [band.word for band in marks([(0.0, 40.0)], (0.0, 50.0), "camera lost")] == ["camera lost"]


def test_lost_camera_shows_in_every_time_chart(tmp_path):
    after = [{**entry, "time_s": 68.6 + entry["time_s"]} for entry in frames(*[[smiling()]] * 100)]
    page = make_report(write(tmp_path / "a.jsonl", [*frames(*[[smiling()]] * 100), *lost(12.0, 56), *after])).read_text()
    parts = page.split('<svg class="time"')[1:]
    assert len(parts) == 3, "the overview, one person, and the times without a camera"
    for part in parts:
        assert 'class="lost"' in part.split("</figure>")[0], part[:200]


# ------------------------------------------------------------------------------------------------ the page


def test_page_is_self_contained(tmp_path):
    page = make_report(write(tmp_path / "a.jsonl", frames(*[[smiling()]] * 30))).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy and "media-src" not in policy
    assert " style=" not in page and not re.search(r'\s(src|href)="', page), "only its own style, and nothing to load"
    assert 'id="patterns"' in page and 'checked' not in page.split('id="patterns"')[1][:20], "patterns are an option"


def test_script_data_cannot_end_its_element(tmp_path):
    evil = "</script><script>alert(1)</script>\u202e"
    page = make_report(write(tmp_path / "a.jsonl", frames(*[[face(1, evil)]] * 9))).read_text()
    assert page.count("<script") == page.count("</script>") == 2
    assert data(page)["charts"]["expressions"]["rows"][0][0] == evil[:40].replace("\u202e", "\ufffd")


def test_video_link_is_relative_to_the_page(tmp_path, make_clip):
    (tmp_path / "pages").mkdir()
    clip = make_clip(tmp_path / "a b#'\"&.mp4", frames=12, sound=None)
    log = write(tmp_path / "a.jsonl", [{**entry, "time_s": entry["time_s"] + 2.0} for entry in frames(*[[smiling()]] * 9)])
    page = Tags(make_report(log, clip, tmp_path / "pages" / "a.html").read_text())
    assert dict(page.attributes)["src"] != "" and ("src", "../a%20b%23%27%22%26.mp4") in [
        (name, value.removeprefix("./")) for name, value in page.attributes if name == "src"]
    assert data((tmp_path / "pages" / "a.html").read_text())["parts"] == [[0.0, 2.0]], "the log's own times are the video's"
    assert link(tmp_path / "javascript:alert(1)", tmp_path / "a.html") == "./javascript%3Aalert%281%29"
    policy = (tmp_path / "pages" / "a.html").read_text().split("Content-Security-Policy")[1][:400]
    assert "media-src 'self' file:" in policy


def test_long_session_report_stays_small(tmp_path):
    """Ten minutes of five people with constantly changing labels."""
    entries = [{"time_s": i / 5, "faces": [smiling(track, (i * 7 + track * 3) % 10 / 10) for track in range(5)]}
               for i in range(3000)]
    assert len(make_report(write(tmp_path / "a.jsonl", entries)).read_bytes()) < 450_000  # 330,000 measured


def test_report_of_many_visitors_stays_small(tmp_path):
    """Sixty people, each for twenty seconds."""
    entries = [{"time_s": i / 5, "faces": [smiling(i // 100, i % 10 / 10)]} for i in range(6000)]
    assert len(make_report(write(tmp_path / "a.jsonl", entries)).read_bytes()) < 800_000


# ------------------------------------------------------------------------------------------------ comparison


def test_two_logs_are_compared(tmp_path):
    first = write(tmp_path / "a.jsonl", frames(*[[face(1, "sad")]] * 60, *[[face(1)]] * 40))
    second = write(tmp_path / "b.jsonl", frames(*[[face(1)]] * 90, *[[face(1, "fear")]] * 10))
    assert main(["--compare", str(first), str(second)]) == 0
    text = (tmp_path / "a-vs-b.html").read_text()
    page = Tags(text)
    assert "b.jsonl shows less sad (0% against 60%) and more happy (90% against 40%) than a.jsonl." in page.text
    assert "+50.0" in page.text and "\N{MINUS SIGN}60.0" in page.text
    charts = data(text)["charts"]
    assert charts["expressions"]["rows"] == [["happy", 0.4, 0.9, 0.5], ["sad", 0.6, 0.0, -0.6], ["fear", 0.0, 0.1, 0.1]]
    assert charts["overview-0"]["columns"][2:] == ["happy", "sad"] and charts["overview-1"]["columns"][2:] == ["fear", "happy"]


def test_comparison_of_equal_or_empty_sessions(tmp_path):
    first = write(tmp_path / "a.jsonl", frames(*[[face(1)]] * 60))
    (tmp_path / "b").mkdir()
    second = write(tmp_path / "b" / "a.jsonl", frames(*[[face(1)]] * 40))
    text = Tags(make_comparison(first, second).read_text()).text
    assert f"{tmp_path.name}/a.jsonl and b/a.jsonl show the same expressions" in text
    nobody = write(tmp_path / "n.jsonl", frames(*[[]] * 40))
    assert "No face was seen in n.jsonl." in Tags(make_comparison(first, nobody).read_text()).text
    assert "No face was seen in n.jsonl and n.jsonl" not in Tags(make_comparison(nobody, nobody).read_text()).text
    stills = write(tmp_path / "s.jsonl", [{"time_s": 0.0, "faces": [face()], "file": f"{i}.png"} for i in range(3)])
    assert "Faces over time" not in Tags(make_comparison(first, stills).read_text()).text


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "give a log, or two with --compare A B"), (["a.jsonl", "--compare", "a.jsonl", "b.jsonl"], "give a log, or two"),
    (["--compare", "a.jsonl", "b.jsonl", "--video", "v.mp4"], "--video is for the report of one log"),
    (["--compare", "a.jsonl"], "expected 2 arguments")])
def test_rejects_conflicting_report_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_rejects_logs_that_cannot_be_compared(tmp_path, capsys):
    log = write(tmp_path / "a.jsonl", frames([face()]))
    for other in ("none.jsonl", "a.txt"):
        assert main(["--compare", str(log), str(tmp_path / other)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl"]


# ------------------------------------------------------------------------------------------------ in a browser


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_page_in_a_browser(tmp_path, make_clip):
    """Tooltips, the video, renaming and both exports work under the page's own policy; the page also works without scripts."""
    clip = make_clip(tmp_path / "clip.mp4", frames=90, sound=None)
    entries = frames(*[[smiling()]] * 15, *[[smiling(happy=0.1)]] * 14)
    page = make_report(write(tmp_path / "a.jsonl", entries), clip)
    asyncio.run(_use(page, tmp_path))
    (table,) = tmp_path.glob("*.csv")
    rows = list(csv.reader(table.open(encoding="utf-8", newline="")))
    assert table.name == "zoë-b-x.csv" and rows[0] == ["person", "start_s", "end_s", "shown", "fear", "happy", "sad"]
    assert rows[1][0] == "'=Zoë <b>x" and rows[1][3] == "happy" and float(rows[1][5]) == pytest.approx(0.8), "no formula"
    (path,) = tmp_path.glob("*.png")
    image = cv2.imread(str(path))
    assert image.shape[1] == 2400 and path.name == "zoë-b-x.png"
    colors = np.unique(image[::4, ::4].reshape(-1, 3), axis=0)
    assert len(colors) > 20, "not empty"


POINT = "(e => {const b = e.getBoundingClientRect(); e.dispatchEvent(new PointerEvent('%s', {bubbles: true, clientX: b.left + "\
        "b.width / 4, clientY: b.top + 20}))})(document.querySelector('svg[data-chart=person-0]'))"


async def _use(path, folder):
    async with browser(folder / "profile") as page:
        await page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        for width, is_phone in ((360, True), (1440, False)):
            await page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=is_phone)
            await page.call("Page.navigate", url=path.as_uri())
            await page.until("document.querySelectorAll('.tools button').length >= 6")
            assert await page.value("document.documentElement.scrollWidth <= window.innerWidth"), width
        await page.until("document.querySelector('video').readyState > 0 || document.querySelector('video').error")
        await page.value(POINT % "pointermove")
        assert await page.value("document.getElementById('tip').innerText") == "0.7 s · happy\nhappy 80%\nsad 20%"
        if not await page.value("document.querySelector('video').error"):  # some builds of Chromium have no H.264
            await page.value(POINT % "click")
            await page.until("Math.abs(document.querySelector('video').currentTime - 2.9 / 4) < .05")
            await page.until("document.querySelectorAll('.head').length > 1")
        await page.value("(i => {i.value = '=Zoë <b>x'; i.dispatchEvent(new Event('input'))})"
                         "(document.querySelector('figcaption input'))")
        for text in ("CSV", "PNG"):
            await page.value("[...document.querySelectorAll('figure[data-export=person-0] button')]"
                             f".find(b => b.innerText === '{text}').click()")
            deadline = 100
            while not list(folder.glob(f"*.{text.lower()}")) and deadline:
                await asyncio.sleep(0.1)
                deadline -= 1
        assert not [one for one in page.said if "exceptionDetails" in one or one["entry"]["source"] == "security"], page.said
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.call("Page.navigate", url=path.as_uri())
        await page.until("document.querySelectorAll('svg.time').length >= 2")
        assert await page.value("document.querySelectorAll('button').length") == 0, "nothing that would not work"
