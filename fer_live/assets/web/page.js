// The page: picture, bars, timeline, and what state the connection is in. What comes from the server is only ever text.

import { events, pictures } from "/stream.js";
import { Timeline } from "/timeline.js";

const by = (id) => document.getElementById(id);
const canvas = by("picture"), pen = canvas.getContext("2d");
const timeline = new Timeline(by("timeline"), by("legend"), by("summary"));
const status = { pictures: "closed", events: "closed", camera: "starting", paused: false, shownAt: 0 };
const rows = new Map(); // track id -> its elements

const color = (label) => `var(--${/^[a-z]+$/.test(label) ? label : "other"}, var(--other))`;
const percent = (p) => `${Math.round(100 * p)}%`;

function element(parent, name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  parent.append(made);
  return made;
}

async function show(blob) {
  const bitmap = await createImageBitmap(blob);
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  status.shownAt = performance.now();
}

function makeRow(face) {
  const item = element(by("faces"), "li", "face");
  const title = element(item, "h3");
  const row = { item, swatch: element(title, "span", "swatch"), label: element(title, "span"), bars: new Map() };
  element(title, "span", "number", `face ${face.track_id}`);
  const list = element(item, "ul", "bars");
  for (const name of Object.keys(face.probs)) {
    const line = element(list, "li");
    element(line, "span", "name", name);
    const fill = element(element(line, "span", "track"), "span", "fill");
    fill.style.background = color(name);
    row.bars.set(name, { fill, value: element(line, "span", "value") });
  }
  return row;
}

function showFaces(entry) {
  const seen = new Set(entry.faces.map((face) => face.track_id));
  for (const [id, row] of rows) if (!seen.has(id)) { row.item.remove(); rows.delete(id); }
  for (const face of entry.faces) {
    if (!rows.has(face.track_id)) rows.set(face.track_id, makeRow(face));
    const row = rows.get(face.track_id);
    row.label.textContent = face.calibration_s > 0 ? `look neutral ${Math.ceil(face.calibration_s)}`
      : face.label === "unsure" ? "unsure" : `${face.label} ${percent(face.confidence)}`;
    row.swatch.style.background = color(face.label);
    for (const [name, bar] of row.bars) {
      bar.fill.style.width = percent(face.probs[name] ?? 0);
      bar.value.textContent = percent(face.probs[name] ?? 0);
    }
  }
  by("nobody").hidden = entry.faces.length > 0;
  timeline.add(entry.faces);
}

function showState(state) {
  status.camera = state.camera;
  const viewers = state.viewers === 1 ? "1 viewer" : `${state.viewers} viewers`;
  by("figures").textContent = state.camera === "ok"
    ? `${state.fps.toFixed(0)} fps, ${(1000 * state.latency_s).toFixed(0)} ms, ${state.dropped} dropped, ${viewers}` : viewers;
  const labels = [...rows.values()].map((row) => row.label.textContent).join(", ");
  canvas.setAttribute("aria-label", `Live picture: ${labels || "nobody in view"}`);
}

function describe() { // [what the dot shows, the words]
  if (status.paused) return ["waiting", "Paused"];
  if (status.events === 401 || status.pictures === 401) return ["lost", "Not let in: open the address with its token again"];
  if (status.events !== "open" && status.pictures === "closed") return ["lost", "Connection lost, trying again"];
  if (status.pictures === 503) return ["waiting", "All seats are taken, trying again"];
  if (status.camera === "lost") return ["lost", "The camera gives no picture"];
  if (status.camera === "starting") return ["waiting", "Waiting for the camera"];
  return status.pictures === "open" ? ["live", "Live"] : ["waiting", "Connecting"];
}

function refresh() {
  const [kind, words] = describe();
  const line = by("state"), veil = by("veil");
  if (line.textContent !== words) line.textContent = words; // a screen reader hears changes only
  line.dataset.state = kind;
  veil.hidden = kind === "live";
  veil.textContent = words;
  if (kind !== "live") showFaces({ faces: [] }); // what was true then need not be now
  if (status.events !== "open") by("figures").textContent = "";
  by("nobody").textContent = kind === "live" ? "Nobody in view." : "Nothing to show.";
  timeline.draw();
}

const lines = [
  pictures(show, (what) => { status.pictures = what; refresh(); }),
  events({ entry: showFaces, state: showState }, (what) => { status.events = what; refresh(); }),
];

function run() { // nobody looks at a hidden page: its seat is for others
  for (const line of lines) if (status.paused || document.hidden) line.stop(); else line.start();
  refresh();
}

by("pause").addEventListener("click", () => {
  status.paused = !status.paused;
  by("pause").setAttribute("aria-pressed", String(status.paused));
  run();
});
document.addEventListener("visibilitychange", run);
setInterval(refresh, 1000);
run();
