// The server's history of the last three minutes: the mean probabilities of the faces in view, stacked, for each second; empty
// without faces, and marked if the camera was lost. Pointer, touch and arrow keys show the values of a second.

import { fill, percent, word } from "/faces.js";
import { texts } from "/words.js";

const SECONDS = 180;
const LEAST = 0.005; // smaller probabilities round to 0%

export class Timeline {
  constructor(canvas, legend, summary, tip) {
    Object.assign(this, { canvas, legend, summary, tip, names: [], seconds: new Map(), ahead: 0, at: null }); // at: seconds ago
    const over = (event) => this.point(SECONDS * (1 - (event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth));
    canvas.addEventListener("pointermove", over);
    canvas.addEventListener("pointerdown", over);
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("blur", () => this.point(null));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: 1, ArrowRight: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (step) { this.point((this.at ?? 1) + step); event.preventDefault(); } else if (event.key === "Escape") this.point(null);
    });
  }

  // Replaces all data by the server's history.
  begin({ now_s, labels, seconds }) {
    this.ahead = performance.now() / 1000 - now_s;
    this.seconds = new Map(seconds.map((one) => [one.second, one]));
    if (this.names.join() !== labels.join()) this.name(labels);
    this.draw();
  }

  add(one) {
    this.seconds.set(one.second, one);
    this.draw();
  }

  name(labels) {
    this.names = labels;
    this.legend.replaceChildren(...labels.map((name) => {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `var(--${name}, var(--other))`;
      item.append(swatch, word(name));
      return item;
    }));
  }

  now() { return Math.floor(performance.now() / 1000 - this.ahead); }

  draw() {
    const now = this.now();
    for (const second of this.seconds.keys()) if (second < now - SECONDS) this.seconds.delete(second);
    const { canvas } = this, scale = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const ink = (name) => style.getPropertyValue(`--${name}`) || style.getPropertyValue("--other");
    pen.clearRect(0, 0, width, height);
    const x = (ago) => Math.round(((SECONDS - ago) * width) / SECONDS);
    for (const one of this.seconds.values()) {
      if (!one.camera_lost) continue;
      pen.fillStyle = ink("lost");
      pen.fillRect(x(now - one.second), 0, x(now - one.second - 1) - x(now - one.second), height);
    }
    for (const run of this.runs()) {
      let below = run.map(() => height);
      for (const name of this.names) {
        const above = below.map((y, i) => y - (run[i].probs[name] ?? 0) * height);
        pen.fillStyle = ink(name);
        pen.beginPath();
        for (const [edge, order] of [[above, 1], [below, -1]]) {
          const points = [[x(now - run[0].second), edge[0]], ...run.map((one, i) => [x(now - one.second - 0.5), edge[i]]),
            [x(now - run.at(-1).second - 1), edge.at(-1)]];
          for (const point of order > 0 ? points : points.reverse()) pen.lineTo(...point);
        }
        pen.fill();
        below = above;
      }
    }
    pen.fillStyle = ink("edge");
    for (const minute of [1, 2]) pen.fillRect(x(60 * minute), 0, Math.max(1, scale), height);
    if (this.at !== null) {
      pen.fillStyle = ink("ink");
      pen.fillRect(x(this.at - 0.5) - scale, 0, 2 * scale, height);
    }
    this.tell();
    this.describe();
  }

  runs() { // groups of consecutive seconds with faces
    const runs = [];
    for (const one of [...this.seconds.values()].filter((second) => second.faces > 0).sort((a, b) => a.second - b.second)) {
      if (runs.length && runs.at(-1).at(-1).second === one.second - 1) runs.at(-1).push(one); else runs.push([one]);
    }
    return runs;
  }

  point(ago) {
    this.at = ago === null ? null : Math.min(SECONDS, Math.max(1, Math.ceil(ago)));
    this.draw();
  }

  tell() { // shows the values of the selected second
    this.tip.hidden = this.at === null;
    if (this.at === null) return;
    const one = this.seconds.get(this.now() - this.at);
    const time = new Date(Date.now() - 1000 * this.at).toLocaleTimeString(document.documentElement.lang);
    const strongest = Object.entries(one?.probs ?? {}).filter(([, p]) => p >= LEAST).sort((a, b) => b[1] - a[1]).slice(0, 3);
    const what = one?.camera_lost ? [texts.camera_was_lost] : !strongest.length ? [texts.nobody]
      : [fill(texts.faces_then, { number: one.faces.toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 }) }),
        ...strongest.map(([name, p]) => `${word(name)} ${percent(p)}`)];
    this.tip.replaceChildren(...[time, ...what].map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    const share = (SECONDS - this.at + 0.5) / SECONDS;
    this.tip.style.left = `clamp(0px, calc(${100 * share}% - ${this.tip.offsetWidth / 2}px), calc(100% - ${this.tip.offsetWidth}px))`;
  }

  describe() {
    const total = this.names.map(() => 0);
    const occupied = [...this.seconds.values()].filter((one) => one.faces > 0);
    for (const one of occupied) this.names.forEach((name, i) => { total[i] += one.probs[name] ?? 0; });
    const parts = this.names.map((name, i) => [name, total[i] / Math.max(1, occupied.length)])
      .sort((a, b) => b[1] - a[1]).slice(0, 3).filter(([, share]) => share >= LEAST).map(([name, share]) => `${word(name)} ${percent(share)}`);
    const text = occupied.length ? fill(texts.summary, { seconds: occupied.length, parts: parts.join(", ") }) : texts.nobody_seen;
    if (this.summary.textContent !== text) this.summary.textContent = text;
  }
}
