// The verdict in words, the table of headline numbers, and who solves what.

import { look, swatch } from "./axes.js";
import { count, el, interval, percent } from "./elements.js";

const SETS = [
  ["both", "both"], ["base_only", "base only"], ["tuned_only", "tuned only"], ["neither", "neither"],
];
const VERDICTS = { GAIN: ["▲", "gain"], LOSS: ["▼", "loss"], NOT_ESTABLISHED: ["○", "not established"] };

export function verdicts(comparisons) {
  return el("ul", { class: "verdicts" }, comparisons.map((one) =>
    el("li", {}, swatch(look(one.place)), el("strong", {}, one.label), " against ", one.baseLabel, ": ", ranges(one), " ",
      el("span", { class: "dim" }, `(${count(one.num_problems)} problems, ${percent(1 - one.alpha, 0)} for all k at once)`),
      one.left_out.number ? el("span", { class: "dim" }, ` ${count(one.left_out.number)} problems that only one has are left out.`) : null)));
}

export function numbers(comparisons) {
  const heads = ["", "pass@1", "change", "pass@k", "change", "delta SE", "first k with a loss", "95 % set", "chance of crossing"];
  return el("table", {},
    el("caption", {}, "Changes are in points of pass@k, tuned − base, with paired 95 % intervals. Delta SE is base pass@k − tuned pass@1: what is left to gain by sampling the base."),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, comparisons.map(row)));
}

function row(one) {
  const { pass_at_1: first, pass_at_k: headline, crossover, delta_se: efficiency } = one;
  const [low, high] = crossover.confidence_set;
  const cells = [
    `${percent(first.base)} → ${percent(first.tuned)}`, interval(first.delta),
    `${percent(headline.base)} → ${percent(headline.tuned)} at k = ${headline.k}`, interval(headline.delta),
    `${interval(efficiency)} at k = ${efficiency.k}`,
    crossover.point === null ? "none up to n" : crossover.point.toFixed(crossover.point < 10 ? 1 : 0),
    low === null ? "none up to n" : low > one.ks.at(-1) ? `beyond k = ${one.ks.at(-1)}` : `k = ${low} to ${high ?? "beyond n"}`,
    percent(crossover.probability_of_crossing ?? NaN, 0),
  ];
  return el("tr", {}, el("th", { scope: "row" }, swatch(look(one.place)), one.label), cells.map((cell) => el("td", {}, cell)));
}

// One button a set; pressing it shows these problems in the table.
export function coverage(one, chosen, onChoose) {
  const sets = one.coverage;
  const buttons = SETS.map(([key, words]) => el("button", {
    type: "button", class: "set", "data-set": key, "aria-pressed": String(chosen === key), onclick: () => onChoose(chosen === key ? "" : key),
  }, el("span", { class: "big" }, count(sets[key].length)), el("span", {}, `${words} (${percent(sets[key].length / one.num_problems, 0)})`)));
  return [
    el("p", {}, `Problems with at least one correct sample of ${one.baseLabel} (base) and ${one.label} (tuned). Choose a number to see its problems.`),
    el("div", { class: "sets", role: "group", "aria-label": "Problems by who solves them" }, buttons),
    el("p", {}, mcnemar(sets)),
    ...["base", "tuned"].map((role) => chance(sets, role, one)),
  ];
}

function mcnemar(sets) {
  const p = sets.mcnemar_p;
  const words = p < 0.05 ? "more than chance between the two" : "no difference is established";
  return `Exact McNemar test of base only against tuned only: p = ${p < 0.001 ? p.toExponential(1) : p.toFixed(3)}, ${words}.`;
}

function chance(sets, role, one) {
  const half = sets.split_half[role];
  const support = sets.support_threshold[role];
  const name = role === "base" ? one.baseLabel : one.label;
  const parts = [];
  if (half) parts.push(`Two halves of ${name}'s own samples (n = ${count(half.n)}) differ by ${half.only_one.toFixed(1)} problems that only one given half solves: a set of that size is chance.`);
  parts.push(`Not solved with n = ${count(support.n)} still allows p below ${percent(support.value, 2)}.`);
  return el("p", { class: "dim" }, parts.join(" "));
}

function ranges(one) {
  return one.verdict.ranges.flatMap((range, place) => {
    const [mark, words] = VERDICTS[range.verdict] ?? ["", range.verdict];
    const ks = range.first_k === range.last_k ? `k = ${range.first_k}` : `k = ${range.first_k} to ${range.last_k}`;
    return [place ? ", " : "", el("span", { class: `verdict ${range.verdict.toLowerCase()}` }, `${mark} ${words}`), ` at ${ks}`];
  });
}

