// Histograms of several models over one another, in shared bins, as shares.

import { chart, frameOf, look, path } from "./axes.js";
import { count, percent, svg } from "./elements.js";

const ACCURACY = ["0", ...Array.from({ length: 9 }, (_, tenth) => `(${tenth / 10}, ${(tenth + 1) / 10}]`), "(0.9, 1)", "1"];

export function accuracies(models) {
  const series = models.map((one) => ({ name: one.label, place: one.place, counts: one.accuracy }));
  return histogram(series, { label: "Problems by accuracy", words: ACCURACY, title: "share of correct samples", unit: "problems" });
}

// Bins that the runs bring themselves; `edges` are equal for all that are drawn together.
export function histogramOf(series, { label, edges, title, words, unit }) {
  const named = series[0].counts.map((_, bin) => `${words(edges[bin])} to ${words(edges[bin + 1])}`);
  const ticks = edges.map((edge, place) => [place, words(edge)]);
  return histogram(series, { label, words: named, title, unit, ticks });
}

// The bins from the first to the last that any distribution is in, with an empty one at each side.
export function inUse(distributions) {
  const [{ edges }] = distributions;
  const used = edges.slice(0, -1).map((_, bin) => bin).filter((bin) => distributions.some((one) => one.counts[bin] > 0));
  const first = Math.max(0, (used[0] ?? 0) - 1);
  const end = Math.min(edges.length - 1, (used.at(-1) ?? edges.length - 2) + 2);
  return { edges: edges.slice(first, end + 1), counts: distributions.map((one) => one.counts.slice(first, end)) };
}

function histogram(series, { label, words, title, unit, ticks = null }) {
  const bins = words.length;
  const shares = series.map((one) => {
    const total = one.counts.reduce((sum, value) => sum + value, 0) || 1;
    return one.counts.map((value) => value / total);
  });
  const highest = Math.max(...shares.flat(), 0.01) * 1.05;
  return chart({
    label,
    stops: words.map((_, bin) => bin),
    place: (bin) => bin + 0.5,
    title: (bin) => words[bin],
    read: (bin) => series.map((one, row) => [look(one.place), one.name, `${percent(shares[row][bin])} (${count(one.counts[bin])} ${unit})`]),
    draw: (drawing, size) => {
      const xTicks = ticks ?? words.map((word, bin) => [bin + 0.5, word.replace(/^\(.*, ([0-9.]+)[\])]$/, "$1").replace(/^1$/, bin === bins - 1 ? "1" : "<1")]);
      const frame = frameOf(drawing, size, { from: 0, to: bins, low: 0, high: highest, xTicks, yWords: (tick) => percent(tick, 0), xTitle: title });
      series.forEach((one, row) => {
        const steps = shares[row].flatMap((share, bin) => [[frame.x(bin), frame.y(share)], [frame.x(bin + 1), frame.y(share)]]);
        const outline = [[frame.x(0), frame.y(0)], ...steps, [frame.x(bins), frame.y(0)]];
        drawing.append(svg("path", { class: `band ${look(one.place)}`, d: `${path(outline)}Z` }), svg("path", { class: `curve ${look(one.place)}`, d: path(outline) }));
      });
      return frame;
    },
  });
}
