// The buttons below the live image. Those that save something exist only if the run allows it.

import { fill } from "/faces.js";
import { texts } from "/words.js";

const TOAST_MS = 5000;
const CODE_MS = 60000; // a code is valid for at least two minutes; it is renewed while it is shown
const by = (id) => document.getElementById(id);
const label = (button, text) => { button.querySelector("span").textContent = text; };

let hiding = 0;
function toast(text) {
  by("toast").textContent = text;
  clearTimeout(hiding);
  hiding = setTimeout(() => { by("toast").textContent = ""; }, TOAST_MS);
}

async function command(name) {
  const answer = await fetch(`/commands/${name}`, { method: "POST", credentials: "same-origin" });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

async function run(button, name, done) {
  button.disabled = true;
  try {
    const answer = await command(name);
    showRecording(answer.recording);
    toast(done(answer));
  } catch (error) {
    toast(fill(texts.failed, { reason: error.message }));
  }
  button.disabled = false;
  button.focus();
}

let recording = false;
export function showRecording(is) {
  recording = is;
  if (!by("record")) return;
  by("record").classList.toggle("on", is);
  label(by("record"), is ? texts.stop : texts.record);
}

export function showPaused(is) {
  by("pause").querySelector("path").setAttribute("d", is ? "M8 5l11 7-11 7z" : "M8 5v14M16 5v14");
  label(by("pause"), is ? texts.resume : texts.pause);
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen(); else by("live").requestFullscreen();
}

function showPhone() {
  const image = by("code"), address = by("address");
  if (image) {
    const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
    address.textContent = isHere ? address.dataset.address : `${location.origin}/`;
    const renew = () => { image.src = `/phone.png?at=${Date.now()}`; };
    const renewing = setInterval(renew, CODE_MS);
    by("dialog").addEventListener("close", () => clearInterval(renewing), { once: true });
    renew();
  }
  by("dialog").showModal();
}

if (document.fullscreenEnabled) by("full").hidden = false;
by("full").addEventListener("click", fullScreen);
by("phone").addEventListener("click", showPhone);
by("close").addEventListener("click", () => by("dialog").close());
by("snapshot")?.addEventListener("click", (event) => run(event.currentTarget, "snapshot", ({ file }) => fill(texts.saved, { file })));
by("record")?.addEventListener("click", (event) => run(event.currentTarget, recording ? "stop" : "record", (answer) => (
  answer.recording ? fill(texts.recording_to, answer) : answer.file ? fill(texts.recorded, answer) : texts.not_recording)));
