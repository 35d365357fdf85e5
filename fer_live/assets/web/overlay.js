// The overlay: one chip per face and nothing else. Data from the server is inserted as text, never as HTML.

import { color } from "/faces.js";
import { events } from "/stream.js";

const list = document.getElementById("chips");
const chips = new Map(); // track id -> its elements
document.body.dataset.style = new URLSearchParams(location.search).get("style") ?? "chips"; // checked by the server

function makeChip() {
  const item = document.createElement("li");
  item.className = "chip";
  const [swatch, label, percent] = ["swatch", "label", "percent"].map((name) => {
    const part = document.createElement("span");
    part.className = name;
    item.append(part);
    return part;
  });
  list.append(item);
  return { item, swatch, label, percent };
}

function show(faces) {
  const here = new Set(faces.map((face) => face.track_id));
  for (const [id, chip] of chips) if (!here.has(id)) { chip.item.remove(); chips.delete(id); }
  for (const face of faces) {
    if (!chips.has(face.track_id)) chips.set(face.track_id, makeChip());
    const chip = chips.get(face.track_id);
    [chip.label.textContent, chip.percent.textContent] = [face.word, face.figure];
    chip.swatch.style.background = color(face.label);
  }
}

const nobody = () => show([]); // remove faces that are out of date
events({ shown: show, state: (state) => { if (state.camera !== "ok") nobody(); } },
  (status) => { if (status !== "open") nobody(); }).start();
