// What all charts share: a drawing that follows its width, axes, and a cursor that mouse and arrow keys move.

import { el, svg } from "./elements.js";

const HEIGHT = 320;
const MARGIN = { left: 52, right: 14, top: 12, bottom: 40 };

// A chart drawn anew at each width. `draw(frame)` fills it; `stops` are the x values where the cursor rests, and
// `read(stop)` gives rows [class, name, value] for one of them.
export function chart({ label, stops, place, draw, read, title }) {
  const drawing = svg("svg", { role: "presentation", height: HEIGHT });
  const readout = el("div", { class: "readout" });
  const handle = el("div", {
    class: "chart", tabindex: 0, role: "slider", "aria-label": label,
    "aria-valuemin": 0, "aria-valuemax": stops.length - 1,
  }, drawing);
  const whole = el("div", {}, handle, readout);
  let frame = null;
  let cursor = null;
  let at = stops.length - 1;

  function show(place_) {
    at = Math.max(0, Math.min(stops.length - 1, place_));
    const rows = read(stops[at], at);
    const head = title(stops[at], at);
    handle.setAttribute("aria-valuenow", at);
    handle.setAttribute("aria-valuetext", [head, ...rows.map(([, name, value]) => `${name} ${value}`)].join(", "));
    readout.replaceChildren(el("strong", {}, head), ...rows.map(([mark, name, value]) =>
      el("span", { class: "entry" }, swatch(mark), el("span", { class: "name" }, name), el("span", { class: "value" }, value))));
    if (cursor && frame) {
      const x = frame.x(place(stops[at], at));
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
  }

  function render() {
    const width = Math.max(260, Math.floor(handle.clientWidth));
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawing.setAttribute("width", width);
    drawing.replaceChildren();
    frame = draw(drawing, { width, height: HEIGHT, ...MARGIN });
    cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    drawing.append(cursor);
    show(at);
  }

  function nearest(event) {
    const x = event.clientX - drawing.getBoundingClientRect().left;
    let best = 0;
    stops.forEach((stop, index) => {
      if (Math.abs(frame.x(place(stop, index)) - x) < Math.abs(frame.x(place(stops[best], best)) - x)) best = index;
    });
    return best;
  }

  handle.addEventListener("pointermove", (event) => show(nearest(event)));
  handle.addEventListener("pointerdown", (event) => show(nearest(event)));
  handle.addEventListener("keydown", (event) => {
    const far = Math.max(1, Math.round(stops.length / 10));
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: far, PageDown: -far };
    if (event.key in steps) show(at + steps[event.key]);
    else if (event.key === "Home") show(0);
    else if (event.key === "End") show(stops.length - 1);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(render).observe(handle);
  return whole;
}

// Horizontal positions of bins or k, vertical ones of fractions, with lines and words for both.
export function frameOf(drawing, size, { from, to, low, high, xTicks, yWords, xTitle }) {
  const x = (value) => size.left + ((value - from) / (to - from || 1)) * (size.width - size.left - size.right);
  const y = (value) => size.height - size.bottom - ((value - low) / (high - low || 1)) * (size.height - size.top - size.bottom);
  for (const tick of niceTicks(low, high)) {
    drawing.append(
      svg("line", { class: "grid", x1: size.left, x2: size.width - size.right, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick end", x: size.left - 6, y: y(tick) + 4 }, yWords(tick)));
  }
  const room = Math.max(1, Math.floor((size.width - size.left - size.right) / 46));
  const every = Math.ceil(xTicks.length / room);
  xTicks.forEach(([value, words], index) => {
    if (index % every === 0) drawing.append(svg("text", { class: "tick middle", x: x(value), y: size.height - size.bottom + 16 }, words));
  });
  drawing.append(svg("text", { class: "tick middle", x: (size.left + size.width - size.right) / 2, y: size.height - 6 }, xTitle));
  return { x, y };
}

export function niceTicks(low, high) {
  const raw = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) ticks.push(Number(tick.toFixed(12)));
  return ticks;
}

export function path(points_) {
  return points_.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

// Colour and dash of the run in this place; seven colours and three dashes have no common divisor.
export function look(place) {
  return place === 0 ? "c-base d0" : `c${(place - 1) % 7} d${place % 3}`;
}

export function swatch(mark) {
  return svg("svg", { class: "swatch", width: 22, height: 10, "aria-hidden": "true" },
    svg("line", { class: `curve ${mark}`, x1: 0, x2: 22, y1: 5, y2: 5 }));
}
