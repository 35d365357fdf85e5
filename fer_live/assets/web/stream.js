// The server's two streams, which reconnect until they are stopped: images (multipart) and server-sent events.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const SILENCE_MS = 6000; // the server sends something every second; a stream silent for this long is dead

// Calls connect(signal, alive) repeatedly. connect calls `alive` whenever data arrives. on(status) is called with "open", "closed",
// 401 (invalid token) or 503 (too many viewers).
class Line {
  constructor(connect, on) {
    Object.assign(this, { connect, on, wanted: false, running: false, heard: 0, control: null });
    setInterval(() => this.watch(), 1000);
  }

  start() { this.wanted = true; if (!this.running) this.run(); else this.wake?.(); }
  stop() { this.wanted = false; this.control?.abort(); this.wake?.(); }
  restart() { this.control?.abort(); }
  watch() { if (this.control && performance.now() - this.heard > SILENCE_MS) this.restart(); }

  async run() {
    this.running = true;
    let wait = 500;
    while (this.wanted) {
      this.control = new AbortController();
      this.heard = performance.now();
      let status = "closed";
      try {
        await this.connect(this.control.signal, () => { this.heard = performance.now(); wait = 500; this.on("open"); });
      } catch (error) {
        status = error.status ?? "closed";
      }
      this.control.abort();
      this.control = null;
      if (!this.wanted) break;
      this.on(status);
      await Promise.race([sleep(status === 401 ? 15000 : wait), new Promise((resolve) => { this.wake = resolve; })]);
      wait = Math.min(wait * 1.7, 5000);
    }
    this.running = false;
  }
}

async function open(address, signal) {
  const answer = await fetch(address, { signal, cache: "no-store", credentials: "same-origin" });
  if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
  return answer.body.getReader();
}

function join(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function headEnd(bytes) { // where \r\n\r\n ends, or -1
  for (let i = 3; i < bytes.length; i++) {
    if (bytes[i] === 10 && bytes[i - 1] === 13 && bytes[i - 2] === 10 && bytes[i - 3] === 13) return i + 1;
  }
  return -1;
}

// Shows the newest image, and skips older ones that arrived with it.
export function images(show, on) {
  return new Line(async (signal, alive) => {
    const reader = await open("/stream.mjpg", signal);
    let bytes = new Uint8Array(0);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      bytes = join(bytes, value);
      let newest = null;
      for (;;) {
        const start = headEnd(bytes);
        if (start < 0) break;
        const size = Number(/content-length: *(\d+)/i.exec(new TextDecoder("latin1").decode(bytes.subarray(0, start)))?.[1]);
        if (!(size > 0)) throw new Error("a part without a length");
        if (bytes.length < start + size + 2) break;
        newest = bytes.slice(start, start + size);
        bytes = bytes.slice(start + size + 2);
      }
      if (newest) {
        await show(new Blob([newest], { type: "image/jpeg" }));
        alive();
      }
    }
  }, on);
}

// Calls on.entry(object) for each of the log's objects, and on.NAME(object) for each named event that has a handler.
export function events(on, onStatus) {
  return new Line(async (signal, alive) => {
    const reader = (await open("/events?rate=10", signal));
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const name = /^event: (\w+)$/m.exec(block)?.[1] ?? "entry", data = /^data: (.*)$/m.exec(block)?.[1];
        if (data) on[name]?.(JSON.parse(data));
      }
      alive();
    }
  }, onStatus);
}
