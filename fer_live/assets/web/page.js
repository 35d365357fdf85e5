// The page: live image, cards, timeline and connection state. Data from the server is inserted as text, never as HTML.

import { showPaused, showRecording } from "/actions.js";
import { Cards, fill } from "/faces.js";
import { events, images } from "/stream.js";
import { Timeline } from "/timeline.js";
import { texts } from "/words.js";

const by = (id) => document.getElementById(id);
const canvas = by("image"), pen = canvas.getContext("2d");
const cards = new Cards(by("faces"));
const timeline = new Timeline(by("timeline"), by("legend"), by("summary"), by("tip"));
const status = { images: "closed", events: "closed", camera: "starting", paused: false };

async function show(blob) {
  const bitmap = await createImageBitmap(blob);
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
}

let measured = new Map(); // track id -> the face's object in the log, which arrives just before its displayed values

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
  canvas.setAttribute("aria-label", `${texts.live_image}: ${cards.spoken().join(", ") || texts.nobody}`);
  refresh();
}

let remembers = false; // whether the timeline has the server's history, which is fetched once per connection

async function remember() {
  remembers = true;
  try {
    const answer = await fetch("/history", { credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.statusText);
    timeline.begin(await answer.json());
  } catch {
    remembers = false; // fetched again with the next state
  }
}

function describe() { // why there is no live image; "" if there is one
  if (status.paused) return texts.paused;
  if (status.events === 401 || status.images === 401) return texts.not_let_in;
  if (status.events !== "open" && status.images === "closed") return texts.connection_lost;
  if (status.images === 503) return texts.seats_taken;
  if (status.camera === "lost") return texts.camera_lost;
  if (status.camera === "starting") return texts.camera_starting;
  return status.images === "open" ? "" : texts.connecting;
}

// Shows one message at a time: over the image, or that it is live.
function refresh() {
  const why = describe(), veil = by("veil");
  if (veil.textContent !== why) veil.textContent = why; // setting the same text again would make screen readers repeat it
  by("live").classList.toggle("paused", status.paused); // the last image stays visible
  by("state").hidden = why !== "";
  if (why !== "") cards.show([]); // remove faces that are out of date
  by("nobody").hidden = why !== "" || cards.cards.size > 0;
  if (status.events !== "open") by("figures").textContent = "";
}

const lines = [
  images(show, (what) => { status.images = what; refresh(); }),
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

function run() { // a hidden page disconnects, so that others can watch
  for (const line of lines) {
    if (status.paused || document.hidden) line.stop(); else line.start();
  }
  if (status.paused || document.hidden) {
    status.images = status.events = "closed";
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
