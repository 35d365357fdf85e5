"""The report: log parsing, counts, and safety of the page for any log."""

import base64
import html.parser
import json
import re
import subprocess
import sys

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.model.spec import EMOTIONS
from fer_live.report import readings, session
from fer_live.report.__main__ import main, make_report
from fer_live.report.charts import bands, clock, tiles
from fer_live.report.session import summarize
from fer_live.report.thumbnails import thumbnails
from fer_live.screen.palette import COLORS, EMOTION_COLORS, contrast
from fer_live.sinks.log import Log
from fer_live.sinks.log_reader import read_log
from fer_live.types import Analysis, Face, Frame, SourceError
from tests.conftest import ROOT


def face(track_id=1, label="happy", confidence=0.9, box=(10, 20, 60, 70)):
    return {"track_id": track_id, "box": list(box), "label": label, "confidence": confidence, "probs": {label: confidence}}


def as_color(text):
    """#rrggbb as BGR."""
    return tuple(int(text[i : i + 2], 16) for i in (5, 3, 1))


def frames(*items, step_s=0.1):
    """Log entries; each item is the faces of one frame, or a number of seconds without entries."""
    time_s, entries = 0.0, []
    for item in items:
        if isinstance(item, float):
            time_s += item
        else:
            entries.append({"frame": len(entries), "time_s": round(time_s, 6), "faces": item})
            time_s += step_s
    return entries


def write(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


class Tags(html.parser.HTMLParser):
    """Collects tags and attributes, and asserts that all tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.stack = set(), [], "", []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "input"):
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data if not {"style", "script"} & set(self.stack) else ""


# ------------------------------------------------------------------------------------------------ reading


def written(path, count=5):
    """A log written by the Log sink: one face, then two, then none, and so on."""
    probs = np.array([0.1, 0, 0, 0.6, 0.2, 0.1, 0], np.float32)
    with Log(path, EMOTIONS) as sink:
        for i in range(count):
            faces = tuple(Face((10, 12, 40, 42 + j), j + 1, probs, "happy", 0.6) for j in range((1, 2, 0)[i % 3]))
            sink.write(None, Analysis(Frame(None, i, i / 4), faces))
    return path


def test_csv_and_jsonl_read_as_the_same_objects(tmp_path):
    lines, rows = (list(read_log(written(tmp_path / name))) for name in ("a.jsonl", "a.csv"))
    assert len(lines) == 5 and [entry for entry in lines if entry["faces"]] == rows


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_log_truncated_anywhere_is_read_up_to_that_point(tmp_path, name, capsys):
    whole = written(tmp_path / name).read_bytes()
    entries = list(read_log(tmp_path / name))
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last, len(whole)):
        (tmp_path / name).write_bytes(whole[:end] + (b"\0" * 512 if end % 2 else b""))
        found = list(read_log(tmp_path / name))
        assert [e["frame"] for e in found] in ([e["frame"] for e in entries], [e["frame"] for e in entries][:-1])
        assert all(len(e["faces"]) <= 2 for e in found)
    assert capsys.readouterr().err == "", "a truncated end is not reported"


def test_damaged_lines_are_counted_and_skipped(tmp_path, capsys):
    good = json.dumps(frames([face()])[0])
    evil = ["garbage", "[1, 2]", "[" * 100_000, '{"a": ' + "1" * 6000 + "}", '"' + "x" * (3 << 20) + '"', "\udcff"]
    content = "\n".join([evil[0], good, *evil[1:], good]) + "\n"
    (tmp_path / "a.jsonl").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert len(list(read_log(tmp_path / "a.jsonl"))) == 2
    assert f"skipped {len(evil)} damaged lines of {len(evil) + 2}" in capsys.readouterr().err
    rows = written(tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([*rows[:2], "1,2", 'x,"', "9" * 200_000, "1,nan,x", *rows[2:]]) + "\n")
    assert len(list(read_log(tmp_path / "a.csv"))) >= 2
    assert "damaged" in capsys.readouterr().err


def test_rejects_files_that_are_not_logs(tmp_path, capsys):
    video = tmp_path / "no.mp4"
    video.write_text("no video")
    log = write(tmp_path / "a.jsonl", frames([face()], [face()]))
    for name, text in (("empty.jsonl", ""), ("text.jsonl", "hello\n"), ("other.csv", "a,b\n1,2\n"), ("log.txt", "x"),
                       ("frames.jsonl", '{"a": 1}\n'), ("nan.jsonl", '{"frame": 1, "time_s": NaN, "faces": []}\n'),
                       ("zeros.jsonl", "\0" * 100)):
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.jsonl").mkdir()
    before = sorted(tmp_path.rglob("*"))
    bad = [path for path in tmp_path.iterdir() if path not in (log, video)]
    assert len(bad) == 8
    cases = [[str(path)] for path in [*bad, tmp_path / "no.jsonl"]]
    cases += [[str(log), "--output", str(tmp_path / "x.pdf")], [str(log), "--output", str(tmp_path / "no" / "x.html")],
              [str(log), "--video", str(tmp_path / "nothing.mp4")], [str(log), "--video", str(video)]]
    for arguments in cases:
        assert main(arguments) == 2, arguments
        output = capsys.readouterr().err
        assert output.count("\n") == 1 and output.startswith("error: ") and len(output) < 400, output
    assert sorted(tmp_path.rglob("*")) == before, "no files are left"


# ------------------------------------------------------------------------------------------------ counting


def test_frames_are_weighted_by_duration():
    """The frame rate does not affect durations, since live frames can be dropped."""
    result = summarize(frames(*[[face(label="happy")]] * 10, *[[face(label="sad")], 0.1] * 5, []))
    by_label = {result.labels[n]: s for n, s in result.seconds.items()}
    assert by_label == {"happy": pytest.approx(1.0), "sad": pytest.approx(1.0)}
    assert {result.labels[n]: c for n, c in result.counts.items()} == {"happy": 10, "sad": 5}
    assert result.span_s == pytest.approx(2.2) and result.someone_s == pytest.approx(2.0)
    assert result.changes == 1 and list(result.dwells_s) == pytest.approx([2.0])


def test_gap_counts_for_no_person():
    result = summarize(frames([face()], [face()], 30.0, [face(label="sad")], [face(label="sad")]))
    assert result.face_s == pytest.approx(0.4) and result.span_s == pytest.approx(30.4)
    assert result.holes == [(pytest.approx(0.2), pytest.approx(30.2))] and result.changes == 0
    (person,) = result.people
    assert person.seen_s == pytest.approx(0.4) and list(person.starts) == pytest.approx([0.0, 30.2])


def test_gaps_people_and_label_runs():
    empty, long = [], [[]] * 15
    result = summarize(frames([face(1)], empty, [face(1, "sad"), face(2)], *long, [face(3)], [face(3, "sad")], [face(3)]))
    assert result.gaps == [(pytest.approx(0.3), pytest.approx(1.8))], "a frame without a face is not a gap"
    assert [p.name for p in result.people] == ["1", "2", "3"] and result.most == 2
    assert result.runs == {result.labels.index("happy"): 4, result.labels.index("sad"): 2}
    assert result.shown_by == {result.labels.index("happy"): 3, result.labels.index("sad"): 2}
    assert [p.changes for p in result.people] == [1, 0, 2]


def test_gaps_at_both_ends_and_a_session_without_faces():
    result = summarize(frames(*[[]] * 15, [face()], *[[]] * 15))
    assert [pytest.approx(t) for gap in result.gaps for t in gap] == [0.0, 1.5, 1.6, 3.1]
    result = summarize(frames(*[[]] * 15))
    assert result.gaps == [(0.0, pytest.approx(1.5))] and not result.people and result.frames == 15


def test_concatenated_logs_are_parts_with_separate_people():
    part = frames(*[[face(1)]] * 30)
    result = summarize([*part, *part])
    assert result.parts == 2 and [p.name for p in result.people] == ["1", "2.1"]
    assert result.span_s == pytest.approx(6.0) and result.face_s == pytest.approx(6.0)


def test_images_are_counted_not_timed(tmp_path):
    entries = [{"frame": i, "time_s": 0.0, "faces": [face(label="happy" if i else "sad")], "file": f"{i}.png"} for i in range(4)]
    result = summarize(entries)
    assert result.stills and {result.labels[n]: c for n, c in result.counts.items()} == {"happy": 3, "sad": 1}
    text = make_report(write(tmp_path / "a.jsonl", entries)).read_text()
    assert "75.0%" in text and "images" in text and "Time without faces" not in text


def test_events_are_reported():
    entries = frames(*[[face()]] * 5)
    entries[2:2] = [{"event": "camera_lost", "time_s": 0.15}, {"event": "camera_lost"}, {"event": "back", "time_s": 0.2}]
    result = summarize(entries)
    assert result.event_counts == {"camera_lost": 2, "back": 1} and result.skipped == 0
    assert result.events == [(0.15, "camera_lost"), (0.2, "back")] and result.frames == 5


def lost(start_s, seconds):
    """Log entries of a lost camera: about one slate per second."""
    return [{"frame": 0, "time_s": round(start_s + i * 1.01, 3), "faces": [], "camera_lost": True} for i in range(seconds)]


def test_lost_camera_differs_from_nobody_in_view(tmp_path):
    before = frames(*[[face()]] * 20, *[[]] * 20)  # 2 s with a face, 2 s without; then 4 s of silence until it counts as lost
    after = [{**entry, "time_s": 68.6 + entry["time_s"]} for entry in frames(*[[]] * 15, *[[face(2)]] * 10)]
    result = summarize([*before, *lost(8.0, 60), *after])
    assert result.lost == [(pytest.approx(4.0), pytest.approx(68.6))] and result.lost_s == pytest.approx(64.6)
    assert result.holes == [] and result.logged_s == pytest.approx(6.5)
    assert result.gaps == [(pytest.approx(2.0), pytest.approx(4.0)), (pytest.approx(68.6), pytest.approx(70.1))]
    make_report(write(tmp_path / "a.jsonl", [*before, *lost(8.0, 60), *after]))
    text = Tags((tmp_path / "a.html").read_text()).text
    assert "Once, 1:05 together, the camera was lost: 4.0 s to 1:09" in text and "46%" in text, "a face in view for 3 of 6.5 s"
    assert "For 1 s or more, 2 times, 3.5 s together, no face was seen" in text


def test_sleep_during_a_lost_camera_is_a_gap():
    result = summarize([*lost(0.0, 3), *lost(100.0, 2)])
    assert result.lost_s == pytest.approx(2.02 + 1 + 1.01 + 1) and result.holes == [(pytest.approx(3.02), pytest.approx(100.0))]


def test_log_of_a_camera_that_never_connected(tmp_path):
    for count in (1, 5):
        write(tmp_path / "a.jsonl", lost(0.0, count))
        text = Tags(make_report(tmp_path / "a.jsonl").read_text()).text
        assert "the camera was lost" in text and "The log is of images" not in text


def test_damaged_entries_are_skipped_and_counted():
    nan, inf = float("nan"), float("inf")
    good = frames(*[[face()]] * 4)
    bad = [{}, {"time_s": 0.3}, {"time_s": nan, "faces": []}, {"time_s": inf, "faces": []}, {"time_s": 10**400, "faces": []},
           {"time_s": 1e11, "faces": []}, {"time_s": "0.3", "faces": []}, {"time_s": True, "faces": []},
           {"time_s": 1, "faces": {}}]
    faces = [None, 7, {}, {"track_id": 1, "label": "x"}, face(confidence=nan), face(confidence=2.0), face(label=3), face("1"),
             face(10**400), face(True)]
    result = summarize([bad[5], *good, *bad, {"time_s": 0.4, "faces": faces}])
    assert (result.skipped, result.skipped_faces, result.frames) == (len(bad) + 1, len(faces), 5)
    assert result.face_s == pytest.approx(0.4)
    for box in ([1, 2], None, [nan] * 4, [9, 9, 1, 1], "abcd", [1e300, 0, 1e301, 1]):
        result = summarize(frames([{**face(), "box": box}], []))
        assert result.faces == 1 and result.people[0].best is None, "a face without a box still counts"


def test_many_label_names_stay_bounded():
    entries = frames(*[[face(i, label=f"label {i}" + "x" * 500)] for i in range(6000)])
    entries += [{"event": f"e{i}", "time_s": 1.0} for i in range(5000)]
    result = summarize(entries)
    assert len(result.labels) == readings.LABELS + 1 and result.labels[-1] == readings.OTHER
    assert len(result.people) == session.KEPT and len(result.dwells_s) == 6000 and len(result.bins) <= session.BINS
    assert max(map(len, result.labels)) <= readings.LONG and sum(result.event_counts.values()) == 5000
    assert len(result.events) == session.LISTED and len(result.event_counts) <= readings.LABELS + 1
    assert sum(result.seconds.values()) == pytest.approx(600, abs=0.2) == sum(sum(b.values()) for b in result.bins)


def test_long_log_uses_little_memory(tmp_path):
    code = ("import resource, sys; from fer_live.report.session import summarize\n"
            "def entries():\n"
            "    for i in range(60_000):\n"
            "        probs = dict.fromkeys('abcdefg', 1 / 7)\n"
            "        face = {'track_id': i, 'label': 'happy', 'confidence': 0.5, 'box': [0, 0, 9, 9], 'probs': probs}\n"
            "        yield {'time_s': i / 30, 'faces': [face]}\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "summarize(entries())\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert int(out) < 30_000, "kilobytes; people are forgotten as they go"  # 7,000 measured; were all kept, about 90,000


# ------------------------------------------------------------------------------------------------ the page


def test_page_shows_the_counts(tmp_path):
    log = write(tmp_path / "a.jsonl", frames(*[[face(1)]] * 30, *[[]] * 20, *[[face(2, "sad"), face(3, "unsure")]] * 10))
    assert main([str(log)]) == 0
    page = Tags((tmp_path / "a.html").read_text())
    for words in ("Person 1", "Person 3", "60.0%", "20.0%", "6.0 s", "67%", "stay 3.0 s", "3.0 s to 5.0 s", "mainly happy 100%"):
        assert words in page.text, words
    assert page.text.count("unsure") >= 3 and "img" not in page.tags
    assert main([str(log)]) == 0 and (tmp_path / "a-2.html").exists(), "nothing is overwritten"


def test_csv_report_names_missing_data(tmp_path):
    text = make_report(written(tmp_path / "a.csv", 60)).read_text()
    assert "Somebody was always in view" in text
    log = tmp_path / "b.csv"
    rows = (tmp_path / "a.csv").read_text().splitlines()
    log.write_text("\n".join([*rows[:5], *rows[40:]]) + "\n")
    assert "a CSV log has none while nobody is in view" in make_report(log).read_text()


def test_hostile_log_is_escaped(tmp_path):
    """Labels, events and the log's name are shown in full on the page, and only as text."""
    evil = ["<script>alert(1)</script>", "\"' onload=alert(1) x='", "</style><img src=http://evil/>", "&lt;b",
            "\ud800\u202e\x00\x1b[31m"]
    entries = frames(*[[face(i, label)] for i, label in enumerate(evil)] * 9)
    entries.append({"event": evil[0], "time_s": 0.2})
    log = tmp_path / "<b>&a'\".jsonl"
    text = make_report(write(log, entries)).read_text(encoding="utf-8")
    page = Tags(text)
    assert text.count("<script") == 2 and "img" not in page.tags and "a" not in page.tags, "its data and its own script"
    assert evil[0] in page.text and "<b>&a'\".jsonl" in page.text, "it is shown as text"
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    outside = text.replace("http-equiv=", "").replace("src=http://evil/", "").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in outside and "default-src 'none'" in text and "unsafe" not in text
    assert "\u202e" not in text and "\x1b" not in text


def test_report_uses_palette_colors_and_patterns():
    for name, (blue, green, red) in COLORS.items():
        assert f"#{red:02x}{green:02x}{blue:02x}" in (tiles([name])[0].light, tiles([name])[0].dark)
    assert not set(tiles(["happy", "bored"])[1][:2]) & {tile.light for tile in tiles(list(COLORS))}
    for tile in tiles([*COLORS, *map(str, range(9))]):
        on_light, on_dark = (contrast(as_color(color), as_color(page)) for color, page in
                             ((tile.light, "#f5f5f5"), (tile.dark, "#202327")))  # the grounds of templates/style.css
        assert on_light >= 3 and on_dark >= 3, tile
    drawn = tiles(list(EMOTION_COLORS))
    assert len({tile.mark for tile in drawn}) == len({tile.dash for tile in drawn}) == len(EMOTION_COLORS)


def test_long_frame_fills_its_whole_duration():
    face = {"track_id": 1, "box": [0, 0, 9, 9], "label": "happy", "confidence": 1.0, "probs": {"happy": 1.0}}
    times = [0.0, 0.1, 0.2, 0.75, 0.8]  # half a second of dropped frames
    result = summarize([{"frame": i, "time_s": time_s, "faces": [face]} for i, time_s in enumerate(times)])
    full = [sum(part.values()) / result.bin_s for part in result.bins]
    assert max(full) <= 1.001 and all(share == pytest.approx(1.0) for share in full[:8]), "never more faces than there were"


def test_very_dense_row_is_thinned():
    runs = [(i / 10, (i + 1) / 10, int(i % 10 == 0)) for i in range(20_000)]
    drawn = bands(runs, (0.0, 2000.0), ["happy", "sad"])
    assert len(drawn) < 450 and drawn[0][:5] == (0.0, pytest.approx(1000 * drawn[0].end_s / 2000), 0.0, drawn[0].end_s, 0)
    assert [clock(t) for t in (0, 0.04, 59.94, 59.96)] == ["0.0 s", "0.04 s", "59.9 s", "1:00"]
    assert [clock(t) for t in (125, 3600, 86401)] == ["2:05", "1:00:00", "24:00:01"]


def test_thumbnails_show_the_clearest_moment_and_need_a_video(tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=60, sound=None)
    with_face = [[face(1, confidence=0.5 + i / 200, box=(83 + 2 * i, 33, 128 + 2 * i, 78))] for i in range(40)]
    entries = frames(*with_face, [face(2, box=(900, 900, 950, 950))], *[[]] * 100, [face(3)], [face(3)], step_s=1001 / 30000)
    log = write(tmp_path / "a.jsonl", entries)
    assert "img" not in Tags(make_report(log).read_text()).tags
    assert summarize(entries).people[0].best[1] == pytest.approx(39 * 1001 / 30000, abs=1e-5)
    images = re.findall(r'alt="Person (\d)" src="data:image/jpeg;base64,([^"]+)"', make_report(log, clip).read_text())
    assert [name for name, _ in images] == ["1"], "no thumbnail outside the image or after the end"
    thumbnail = cv2.imdecode(np.frombuffer(base64.b64decode(images[0][1]), np.uint8), cv2.IMREAD_COLOR)
    assert thumbnail.shape == (128, 128, 3)
    import av

    with av.open(str(clip)) as container:
        image = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)][39]
    wanted = cv2.resize(image[33 - 9 : 78 + 9, 83 + 78 - 9 : 128 + 78 + 9], (128, 128), interpolation=cv2.INTER_CUBIC)
    assert np.abs(thumbnail.astype(int) - wanted).mean() < 6


def test_rejects_video_above_8k(tmp_path):
    """Like sources, the report rejects headers that declare huge frames."""
    huge = cv2.imencode(".jpg", np.full((6000, 8000, 3), 90, np.uint8))[1].tobytes()
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 6000, 8000, "yuvj420p"
        packet = av.Packet(huge)
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, 0, 0, True
        container.mux(packet)
    with pytest.raises(SourceError, match="cannot be opened"):
        thumbnails(tmp_path / "a.mkv", [(0.0, (100, 100, 300, 300))])


def test_read_log_raises_the_command_line_message(tmp_path):
    with pytest.raises(SourceError, match="no log at"):
        list(read_log(tmp_path / "no.csv"))
