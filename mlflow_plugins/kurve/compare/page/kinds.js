// What changed on each kind of problem (subject, level, source), where the benchmark names kinds.

import { count, el, interval, percent, points } from "./elements.js";

const MOST_KINDS = 20; // rows, those with the most problems
const LOOKS = { GAIN: ["gain", "▲ "], LOSS: ["loss", "▼ "] };

// One row a kind; its name is a button that shows its problems in the table.
export function kinds(one, chosen, onChoose) {
  const shown = one.strata.slice(0, MOST_KINDS);
  const heads = ["kind", "problems", `${one.baseLabel} pass@1`, `${one.label} pass@1`, "change", `pass@${one.pass_at_k.k}`, "change"];
  const rest = one.strata.length - shown.length;
  return el("table", { class: "strata" },
    el("caption", {}, "▲ and ▼: a gain or a loss that is established over all kinds at once (Holm). In brackets each kind's own 95 % interval, tuned − base in points; "
      + `fewer than 5 problems have none.${rest > 0 ? ` ${count(rest)} smaller kinds are left out.` : ""}`),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, shown.map((kind) => row(kind, chosen, onChoose))));
}

function row(kind, chosen, onChoose) {
  const { pass_at_1: first, pass_at_k: headline } = kind;
  const name = kind.stratum
    ? el("button", { type: "button", class: "link", "data-key": `kind-${kind.stratum}`, "aria-pressed": String(chosen === kind.stratum), onclick: () => onChoose(chosen === kind.stratum ? "" : kind.stratum) }, kind.stratum)
    : "not known";
  return el("tr", { class: chosen && chosen === kind.stratum ? "chosen" : null },
    el("th", { scope: "row" }, name),
    [count(kind.num_problems), percent(first.base), percent(first.tuned)].map((words) => el("td", {}, words)), changed(first),
    el("td", {}, `${percent(headline.base)} → ${percent(headline.tuned)}`), changed(headline));
}

function changed(at) {
  const [look, mark] = LOOKS[at.verdict] ?? ["", ""];
  const words = at.delta.lower === null ? points(at.delta.value) : interval(at.delta);
  return el("td", {}, el("span", { class: `verdict ${look}` }, `${mark}${words}`));
}
