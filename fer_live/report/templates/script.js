"use strict";
// Everything beyond reading the page: tooltips, the video, names and exports. Texts from the log are inserted as text, never as HTML.
(() => {
const {charts, parts} = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const tip = document.getElementById("tip");
const video = document.querySelector("video");
let part = 0;  // the part of the session that the video shows

const element = (name, attributes = {}, text = "") => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
};
const clock = s => {
  if (s < 59.95) return s.toFixed(1) + " s";
  const whole = Math.round(s), two = n => String(n).padStart(2, "0");
  const rest = two(whole % 60), minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
};

// ---- tooltips: the row of the chart's table at a time
const described = (chart, time) => {
  const row = chart.rows.find(r => time >= r[0] && time <= Math.max(r[1], r[0])) || nearest(chart, time);
  if (!row) return [clock(time), {faces: "nobody in view", probability: "not in view"}[chart.unit] || ""];
  const values = chart.columns.slice(2).map((name, i) => [name, row[i + 2]]);
  const numbers = values.filter(([, v]) => typeof v === "number" && v >= .005).sort((a, b) => b[1] - a[1]).slice(0, 4);
  const words = values.filter(([, v]) => typeof v === "string").map(([, v]) => v);
  const shown = numbers.map(([name, v]) => chart.unit === "faces" ? `${name}: ${v.toFixed(1)}` : `${name} ${Math.round(100 * v)}%`);
  return [[clock(time), ...words].join(" · "), shown.join("\n")];
};
const nearest = (chart, time) => {  // events have no duration, so allow some distance
  const near = (+chart.to - +chart.from) / 150;
  return chart.unit === "faces" ? null : chart.rows.find(r => Math.abs((r[0] + r[1]) / 2 - time) <= Math.max(near, .5));
};
const show = (svg, time, x, y) => {
  const [head, body] = described(charts[svg.dataset.chart], time);
  const bold = document.createElement("b");
  bold.textContent = head;
  tip.replaceChildren(bold, body);
  const {offsetWidth: w, offsetHeight: h} = tip;
  tip.style.transform = `translate(${Math.max(4, Math.min(x + 14, innerWidth - w - 6))}px,${y - h - 14 > 0 ? y - h - 14 : y + 22}px)`;
  tip.style.visibility = "visible";
  line(svg, "cursor", time);
};
const hide = svg => { tip.style.visibility = "hidden"; svg.querySelector(":scope>.cursor")?.remove(); };
const line = (svg, name, time) => {
  const {from, to} = svg.dataset, at = 100 * (time - from) / (to - from);
  const made = svg.querySelector(`:scope>.${name}`) || svg.appendChild(element("line", {class: name, y1: 0, y2: svg.getAttribute("height") - 20}));
  made.setAttribute("visibility", at < 0 || at > 100 ? "hidden" : "visible");
  for (const end of ["x1", "x2"]) made.setAttribute(end, `${at}%`);
};

const drawn = [...document.querySelectorAll("svg.time")];
for (const svg of drawn) {
  const chart = charts[svg.dataset.chart], from = +svg.dataset.from, to = +svg.dataset.to;
  Object.assign(chart, {from, to});
  svg.querySelectorAll("title").forEach(title => title.remove());  // the tooltip replaces them
  let held = from;
  const timeAt = event => {
    const box = svg.getBoundingClientRect();
    return held = from + (to - from) * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  svg.addEventListener("pointermove", event => show(svg, timeAt(event), event.clientX, event.clientY));
  svg.addEventListener("pointerleave", () => hide(svg));
  svg.addEventListener("click", event => { show(svg, timeAt(event), event.clientX, event.clientY); seek(held); });
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("keydown", event => {
    const step = {ArrowLeft: -.01, ArrowRight: .01, PageDown: -.1, PageUp: .1}[event.key];
    if (event.key === "Enter") seek(held);
    if (event.key === "Escape") hide(svg);
    if (!step) return;
    event.preventDefault();
    held = Math.min(to, Math.max(from, held + step * (to - from)));
    const box = svg.getBoundingClientRect();
    show(svg, held, box.left + box.width * (held - from) / (to - from), box.top);
  });
  svg.addEventListener("blur", () => hide(svg));
}

// ---- the video: its times differ from the session's by part
const seek = time => {
  if (!video) return;
  part = Math.max(0, parts.findLastIndex(([start]) => start <= time));
  video.currentTime = Math.max(0, time - parts[part][0] + parts[part][1]);
};
if (video) {
  const follow = () => drawn.forEach(svg => line(svg, "head", video.currentTime - parts[part][1] + parts[part][0]));
  for (const name of ["timeupdate", "seeking"]) video.addEventListener(name, follow);
  video.addEventListener("error", () => {
    const name = decodeURIComponent(video.getAttribute("src"));
    document.getElementById("video-note").textContent =
      `This browser cannot play ${name}. Keep the video at its original location, or open it in another player.`;
  });
}

// ---- names: kept in this page only
for (const figure of document.querySelectorAll("figure")) {
  const shown = figure.querySelector(".name"), chart = charts[figure.dataset.export];
  if (!shown) continue;
  const input = document.createElement("input"), first = chart.title;
  Object.assign(input, {value: first, maxLength: 60, title: "Rename; the name stays in this page and its exports"});
  input.setAttribute("aria-label", `Name of ${first}`);
  input.addEventListener("input", () => { chart.title = input.value.trim() || first; });
  input.addEventListener("keydown", event => { if (event.key === "Enter") input.blur(); });
  input.addEventListener("blur", () => { input.value = chart.title; });
  shown.replaceWith(input);
}

// ---- exports
const save = (blob, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").toLowerCase() || "chart";
  link.download += blob.type === "image/png" ? ".png" : ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const cell = value => {
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;  // a spreadsheet must not evaluate it
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const table = chart => {
  const named = chart.unit === "probability";  // a person's table includes the name, so that files can be combined
  const rows = [named ? ["person", ...chart.columns] : chart.columns, ...chart.rows.map(row => named ? [chart.title, ...row] : row)];
  return new Blob([rows.map(row => row.map(cell).join(",") + "\r\n").join("")], {type: "text/csv"});
};
const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "paint-order", "opacity", "fill-opacity",
              "font-family", "font-size", "font-weight", "vector-effect", "text-anchor"];
const copied = svg => {  // a copy that looks the same without the page's style
  const copy = svg.cloneNode(true), from = svg.querySelectorAll("*"), to = copy.querySelectorAll("*");
  from.forEach((one, i) => KEPT.forEach(name => to[i].setAttribute(name, getComputedStyle(one)[name].replaceAll('"', "'"))));
  copy.querySelectorAll(":scope>.cursor,:scope>.head").forEach(one => one.remove());
  return copy;
};
const drawing = figure => {
  const WIDTH = 1200, EDGE = 24, style = getComputedStyle(document.body), ink = {fill: style.color, "font-family": "system-ui,sans-serif"};
  const out = element("svg", {xmlns: SVG, width: WIDTH}), chart = charts[figure.dataset.export];
  const write = (text, x, y, size, more) => out.append(element("text", {...ink, x, y, "font-size": size, ...more}, text));
  out.append(element("rect", {width: "100%", height: "100%", fill: style.backgroundColor}));
  out.append(copied(document.querySelector("svg.defs")));
  write(chart.title, EDGE, 40, 22, {"font-weight": 650});
  let y = 58, x = EDGE;
  const keys = figure.querySelectorAll(".legend>span").length ? figure.querySelectorAll(".legend>span")
    : chart.unit === "probability" ? document.querySelectorAll("#people-legend span") : [];
  for (const key of keys) {
    const mark = copied(key.querySelector("svg"));
    for (const [name, value] of Object.entries({x, y, width: 18, height: 14})) mark.setAttribute(name, value);
    out.append(mark);
    write(key.textContent, x + 24, y + 12, 14);
    x += 52 + 8 * key.textContent.length;
  }
  y += keys.length ? 28 : 6;
  for (const svg of figure.querySelectorAll("svg.bar,svg.time,svg.place")) {
    const copy = copied(svg), high = svg.getBoundingClientRect().height || 16, isBar = svg.matches(".bar");
    const column = svg.dataset.column, bar = chart.rows.find(row => row[0] === svg.dataset.label);
    const whose = isBar && chart.columns[column] !== "share" ? `, ${chart.columns[column]}` : "";  // of two sessions
    const left = whose ? 340 : isBar ? 190 : EDGE;
    for (const [name, value] of Object.entries({x: left, y, width: WIDTH - left - (isBar ? 100 : EDGE), height: high})) copy.setAttribute(name, value);
    if (isBar) write((svg.dataset.label.slice(0, 20) + whose).slice(0, 38), EDGE, y + 13, 15);
    if (isBar) write(bar[column] === "" ? "-" : `${(100 * bar[column]).toFixed(1)}%`, WIDTH - 90, y + 13, 15);
    out.append(copy);
    y += high + (isBar ? 10 : 6);
  }
  out.setAttribute("height", y + 14);
  return out;
};
const paint = async figure => {
  const svg = drawing(figure), image = new Image(), canvas = document.createElement("canvas");
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(svg));
  await image.decode();
  [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise(done => canvas.toBlob(done, "image/png"));
};
for (const figure of document.querySelectorAll("figure")) {
  const chart = charts[figure.dataset.export], tools = figure.querySelector(".tools");
  const add = (text, make) => {
    const button = document.createElement("button");
    Object.assign(button, {type: "button", textContent: text});
    button.setAttribute("aria-label", `Save ${chart.title} as ${text}`);
    button.addEventListener("click", async () => save(await make(), chart.title));
    tools.append(button);
  };
  add("CSV", () => table(chart));
  add("PNG", () => paint(figure));
}
})();
