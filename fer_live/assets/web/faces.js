// The cards: one per face, with its three strongest classes, or all of them when expanded. Number, word and figure are those in the
// live image, and come from the server with each face.

import { texts, words } from "/words.js";

const SHOWN = 3; // classes on a collapsed card
const TEXT_MS = 350; // minimum time between changes of the order of the bars and of their figures, so that they can be read

export const word = (name) => words[name] ?? name;
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
export const color = (label) => (label === "" ? "var(--edge, #fff)" : `var(--${/^[a-z]+$/.test(label) ? label : "other"}, var(--other))`); // "": during calibration
export const percent = (p) => `${Math.round(100 * p)}%`;

export function element(parent, name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  parent.append(made);
  return made;
}

export class Cards {
  constructor(list) {
    Object.assign(this, { list, cards: new Map(), expanded: new Set() }); // by track id
  }

  show(faces) {
    const here = new Set(faces.map((face) => face.track_id));
    for (const [id, card] of this.cards) if (!here.has(id)) { card.item.remove(); this.cards.delete(id); this.expanded.delete(id); }
    for (const face of faces) {
      if (!this.cards.has(face.track_id)) this.cards.set(face.track_id, this.make(face));
      this.update(this.cards.get(face.track_id), face);
    }
  }

  spoken() {
    return [...this.cards.values()].map((card) => `${card.number.textContent}: ${card.label.textContent} ${card.figure.textContent}`.trim());
  }

  make(face) {
    const item = element(this.list, "li", "face");
    const button = element(element(item, "h3"), "button");
    button.type = "button";
    const card = { item, button, bars: new Map(), number: element(button, "span", "number", face.number),
      label: element(button, "span", "label"), figure: element(button, "span", "figure"), order: "", shown: "", shownAt: 0 };
    card.number.setAttribute("aria-label", fill(texts.face, { number: face.number }));
    button.title = texts.more;
    button.addEventListener("click", () => {
      if (!this.expanded.delete(face.track_id)) this.expanded.add(face.track_id);
      this.expand(card, face.track_id);
    });
    const bars = element(item, "ul", "bars");
    for (const name of Object.keys(face.probs)) {
      const line = element(bars, "li");
      element(line, "span", "name", word(name));
      const bar = element(element(line, "span", "track"), "span", "fill");
      bar.style.background = color(name);
      card.bars.set(name, { line, bar, value: element(line, "span", "value") });
    }
    this.place(item, face.number);
    return card;
  }

  place(item, number) { // keeps the cards in the order of their numbers
    item.dataset.number = number;
    const after = [...this.list.children].find((other) => Number(other.dataset.number) > number);
    if (after) this.list.insertBefore(item, after);
  }

  update(card, face) {
    for (const [name, { bar }] of card.bars) bar.style.width = percent(face.probs[name] ?? 0);
    [card.label.textContent, card.figure.textContent] = [face.word, face.figure];
    card.number.style.borderColor = color(face.label);
    const now = performance.now();
    if (now - card.shownAt < TEXT_MS && card.shown === face.label + face.figure) return;
    card.shownAt = now;
    card.shown = face.label + face.figure;
    for (const [name, { value }] of card.bars) value.textContent = name === face.label ? face.figure : percent(face.probs[name] ?? 0);
    const order = [...card.bars.keys()].sort((a, b) => (face.probs[b] ?? 0) - (face.probs[a] ?? 0));
    if (order.join() !== card.order) {
      card.order = order.join();
      card.item.querySelector(".bars").append(...order.map((name) => card.bars.get(name).line));
    }
    this.expand(card, face.track_id);
  }

  expand(card, id) {
    const all = this.expanded.has(id);
    card.button.setAttribute("aria-expanded", String(all));
    card.order.split(",").forEach((name, i) => { card.bars.get(name).line.hidden = !all && i >= SHOWN; });
  }
}
