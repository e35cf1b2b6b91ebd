// pass@k and paired differences over a log2 axis, each with its band.

import { chart, frameOf, look, path } from "./axes.js";
import { percent, points, svg } from "./elements.js";

export function passAtK(models) {
  const series = models.map((one) => ({ name: one.label, place: one.place, k: one.k, value: one.value, low: one.low, high: one.high }));
  const unsure = Math.min(...models.map((one) => one.high_variance_from ?? Infinity));
  return lines(series, { label: "pass@k by k", words: percent, shadeFrom: unsure, low: 0 });
}

export function differences(comparisons) {
  const series = comparisons.map((one) => ({
    name: one.label, place: one.place, k: one.ks, value: one.delta, low: one.delta_lower, high: one.delta_upper,
    set: one.crossover.confidence_set, point: one.crossover.point,
  }));
  return lines(series, { label: "Difference of pass@k to the base by k", words: points, zero: true });
}

function lines(series, { label, words, shadeFrom = Infinity, zero = false, low = null }) {
  const stops = [...new Set(series.flatMap((one) => one.k))].sort((a, b) => a - b);
  const last = stops[stops.length - 1];
  const values = series.flatMap((one) => [...one.low, ...one.high]).concat(zero ? [0] : []);
  const bottom = low ?? Math.min(...values);
  const pad = 0.04 * (Math.max(...values) - bottom || 0.1);
  const range = { low: low ?? bottom - pad, high: Math.max(...values) + pad };
  return chart({
    label, stops,
    place: (k) => Math.log2(k),
    title: (k) => `k = ${k}`,
    read: (k) => series.filter((one) => at(one, k) >= 0).map((one) => {
      const index = at(one, k);
      return [look(one.place), one.name, `${words(one.value[index])} [${words(one.low[index])}, ${words(one.high[index])}]`];
    }),
    draw: (drawing, size) => drawn(drawing, size, { series, range, last, words, shadeFrom, zero }),
  });
}

function drawn(drawing, size, { series, range, last, words, shadeFrom, zero }) {
  const octaves = Math.max(1, Math.ceil(Math.log2(last)));
  const ticks = Array.from({ length: octaves + 1 }, (_, power) => [power, String(2 ** power)]).filter(([power]) => 2 ** power <= last || octaves === 1);
  const to = Math.max(1, Math.log2(last));
  const frame = frameOf(drawing, size, { from: 0, to, ...range, xTicks: ticks, yWords: (tick) => words(tick, 0), xTitle: "k" });
  if (shadeFrom < last) {
    const from = frame.x(Math.log2(Math.max(1, shadeFrom)));
    drawing.append(svg("rect", { class: "unsure", x: from, y: size.top, width: frame.x(to) - from, height: size.height - size.top - size.bottom },
      svg("title", {}, "k > n/2: few samples decide")));
    drawing.append(svg("text", { class: "tick end", x: frame.x(to) - 4, y: size.top + 12 }, "k > n/2"));
  }
  if (zero) drawing.append(svg("line", { class: "zero", x1: size.left, x2: size.width - size.right, y1: frame.y(0), y2: frame.y(0) }));
  for (const one of series) {
    const upper = one.k.map((k, index) => [frame.x(Math.log2(k)), frame.y(one.high[index])]);
    const lower = one.k.map((k, index) => [frame.x(Math.log2(k)), frame.y(one.low[index])]).reverse();
    drawing.append(svg("path", { class: `band ${look(one.place)}`, d: `${path([...upper, ...lower])}Z` }));
  }
  series.forEach((one, row) => {
    drawing.append(svg("path", { class: `curve ${look(one.place)}`, d: path(one.k.map((k, index) => [frame.x(Math.log2(k)), frame.y(one.value[index])])) }));
    if (one.set) crossing(drawing, size, { frame, one, to, row });
  });
  return frame;
}

// The set of k where the loss may begin, and its estimate, on a rail above the axis.
function crossing(drawing, size, { frame, one, to, row }) {
  const [first, last] = one.set;
  if (first === null || Math.log2(first) > to) return;
  const y = size.height - size.bottom - 6 - 7 * row;
  const x = (k) => frame.x(Math.min(to, Math.log2(Math.max(1, k))));
  const end = last === null ? frame.x(to) : x(last);
  drawing.append(svg("line", { class: `set ${look(one.place)}`, x1: x(first), x2: end, y1: y, y2: y },
    svg("title", {}, `${one.name}: the crossover lies between k = ${first} and ${last ?? "beyond n"}`)));
  if (one.point !== null) drawing.append(svg("circle", { class: `point ${look(one.place)}`, cx: x(one.point), cy: y, r: 4 }));
}

function at(one, k) {
  let low = 0;
  let high = one.k.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (one.k[middle] === k) return middle;
    if (one.k[middle] < k) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
