// The last three minutes: for each second the mean probabilities of the faces in view, stacked; empty where nobody was.

const SECONDS = 180;

export class Timeline {
  constructor(canvas, legend, summary) {
    Object.assign(this, { canvas, legend, summary, names: [], bins: new Map() }); // bins: second -> [sums, count of faces]
  }

  add(faces) {
    if (!faces.length) return;
    if (!this.names.length) this.start(Object.keys(faces[0].probs));
    const second = Math.floor(performance.now() / 1000);
    const bin = this.bins.get(second) ?? [this.names.map(() => 0), 0];
    for (const face of faces) {
      this.names.forEach((name, i) => { bin[0][i] += face.probs[name] ?? 0; });
      bin[1] += 1;
    }
    this.bins.set(second, bin);
  }

  start(names) {
    this.names = names;
    for (const name of names) {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `var(--${name}, var(--other))`;
      item.append(swatch, name);
      this.legend.append(item);
    }
  }

  draw() {
    const now = Math.floor(performance.now() / 1000);
    for (const second of this.bins.keys()) if (second <= now - SECONDS) this.bins.delete(second);
    const { canvas } = this, scale = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    pen.clearRect(0, 0, width, height);
    const colors = this.names.map((name) => style.getPropertyValue(`--${name}`) || style.getPropertyValue("--other"));
    for (const [second, [sums, count]] of this.bins) {
      const left = Math.floor(((SECONDS - 1 - (now - second)) * width) / SECONDS);
      const right = Math.floor(((SECONDS - (now - second)) * width) / SECONDS);
      let y = height;
      sums.forEach((sum, i) => {
        const top = y - (sum / count) * height;
        pen.fillStyle = colors[i];
        pen.fillRect(left, Math.round(top), Math.max(1, right - left), Math.round(y) - Math.round(top));
        y = top;
      });
    }
    pen.strokeStyle = style.getPropertyValue("--edge");
    for (const minute of [1, 2]) {
      const x = Math.round((minute * width) / 3) + 0.5;
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, height);
      pen.stroke();
    }
    this.describe();
  }

  describe() {
    const total = this.names.map(() => 0);
    for (const [sums, count] of this.bins.values()) sums.forEach((sum, i) => { total[i] += sum / count; });
    const seconds = this.bins.size;
    const parts = this.names.map((name, i) => [name, Math.round((100 * total[i]) / Math.max(1, seconds))])
      .filter(([, share]) => share > 0).sort((a, b) => b[1] - a[1]).slice(0, 4).map(([name, share]) => `${name} ${share}%`);
    this.summary.textContent = seconds ? `Somebody was in view for ${seconds} s; on average ${parts.join(", ")}.`
      : "Nobody was seen yet.";
  }
}
