// The page: picture, cards, timeline, and what state the connection is in. What comes from the server is only ever text.

import { showPaused, showRecording } from "/actions.js";
import { Cards, fill } from "/faces.js";
import { events, pictures } from "/stream.js";
import { Timeline } from "/timeline.js";
import { texts } from "/words.js";

const by = (id) => document.getElementById(id);
const canvas = by("picture"), pen = canvas.getContext("2d");
const cards = new Cards(by("faces"));
const timeline = new Timeline(by("timeline"), by("legend"), by("summary"), by("tip"));
const status = { pictures: "closed", events: "closed", camera: "starting", paused: false };

async function show(blob) {
  const bitmap = await createImageBitmap(blob);
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
}

let measured = new Map(); // track id -> the log's object of the face, which arrives just before what is shown of it

function showFaces(shown) {
  const faces = shown.filter((face) => measured.has(face.track_id)).map((face) => ({ ...measured.get(face.track_id), ...face }));
  cards.show(faces);
  by("nobody").hidden = faces.length > 0 || describe() !== "";
}

function showState(state) {
  status.camera = state.camera;
  if (!remembers) remember();
  const values = { fps: state.fps.toFixed(0), ms: (1000 * state.latency_s).toFixed(0), dropped: state.dropped, viewers: state.viewers };
  by("figures").textContent = fill(state.camera === "ok" ? texts.figures : texts.viewers, values);
  showRecording(state.recording);
  canvas.setAttribute("aria-label", `${texts.live_picture}: ${cards.spoken().join(", ") || texts.nobody}`);
  refresh();
}

let remembers = false; // whether the timeline has what the server keeps; asked for with each connection

async function remember() {
  remembers = true;
  try {
    const answer = await fetch("/history", { credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.statusText);
    timeline.begin(await answer.json());
  } catch {
    remembers = false; // asked again with the next state
  }
}

function describe() { // why there is no live picture; "" while there is one
  if (status.paused) return texts.paused;
  if (status.events === 401 || status.pictures === 401) return texts.not_let_in;
  if (status.events !== "open" && status.pictures === "closed") return texts.connection_lost;
  if (status.pictures === 503) return texts.seats_taken;
  if (status.camera === "lost") return texts.camera_lost;
  if (status.camera === "starting") return texts.camera_starting;
  return status.pictures === "open" ? "" : texts.connecting;
}

// One message at a time: over the picture's place, or that it is live.
function refresh() {
  const why = describe(), veil = by("veil");
  if (veil.textContent !== why) veil.textContent = why; // a screen reader hears changes only
  by("live").classList.toggle("paused", status.paused); // its last picture stays
  by("state").hidden = why !== "";
  if (why !== "") cards.show([]); // what was true then need not be now
  by("nobody").hidden = why !== "" || cards.cards.size > 0;
  if (status.events !== "open") by("figures").textContent = "";
}

const lines = [
  pictures(show, (what) => { status.pictures = what; refresh(); }),
  events({
    entry: ({ faces }) => { measured = new Map(faces.map((face) => [face.track_id, face])); },
    shown: showFaces,
    state: showState,
    second: (one) => timeline.add(one),
  }, (what) => {
    status.events = what;
    remembers &&= what === "open";
    refresh();
  }),
];

function run() { // nobody looks at a hidden page: its seat is for others
  for (const line of lines) {
    if (status.paused || document.hidden) line.stop(); else line.start();
  }
  if (status.paused || document.hidden) {
    status.pictures = status.events = "closed";
    remembers = false;
  }
  refresh();
}

by("pause").addEventListener("click", () => {
  status.paused = !status.paused;
  showPaused(status.paused);
  run();
});
document.addEventListener("visibilitychange", run);
window.addEventListener("resize", () => timeline.draw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.draw());
setInterval(() => timeline.draw(), 1000);
run();
