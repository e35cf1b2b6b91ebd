// The table of problems; the server searches, sorts and cuts it into pages.

import { ask } from "./ask.js";
import { count, el, percent, points, replace } from "./elements.js";
import { change, chosenRuns, state, tunedRun } from "./state.js";

const ROWS = 50;
const COLUMNS = [
  ["id", "problem"], ["question", "question"], ["stratum", "kind"], ["base_accuracy", "base"], ["accuracy", "tuned"],
  ["difference", "difference"], ["fisher_q", "q"],
];
const SETS = [["", "all"], ["both", "both solve it"], ["base_only", "base only"], ["tuned_only", "tuned only"], ["neither", "neither"]];

export async function showProblems(place, { signal, onProblem }) {
  const [base] = chosenRuns();
  const page = Number(state.page) || 0;
  const answer = await ask("problems", {
    runs: `${base},${tunedRun()}`, unpaired: state.unpaired, search: state.search, set: state.set, stratum: state.stratum,
    sort: state.sort, offset: page * ROWS, limit: ROWS,
  }, { signal });
  const table = place.querySelector("table");
  if (!table) replace(place, controls(), el("div", { class: "scroll" }, el("table", { class: "problems" })), el("div", { class: "pager line" }));
  refreshControls(place, answer);
  fill(place.querySelector("table"), answer, onProblem);
  markProblem(place);
  pager(place.querySelector(".pager"), { page, total: answer.total, rows: answer.rows.length });
}

// The row of the problem whose samples are shown.
export function markProblem(place) {
  for (const row of place.querySelectorAll("tbody tr")) row.classList.toggle("chosen", row.dataset.problem === state.problem);
}

function controls() {
  let waiting = 0;
  const typed = (event) => {
    window.clearTimeout(waiting);
    waiting = window.setTimeout(() => change({ search: event.target.value.slice(0, 500), page: "0" }, { quiet: true }), 200);
  };
  return el("div", { class: "line controls" },
    el("label", {}, "Search ", el("input", { type: "search", "data-key": "search", placeholder: "id or question", oninput: typed, autocomplete: "off" })),
    el("label", {}, "Solved by ", el("select", { "data-key": "set", onchange: (event) => change({ set: event.target.value, page: "0" }) },
      SETS.map(([value, words]) => el("option", { value }, words)))),
    el("label", { class: "kinds" }, "Kind ", el("select", { "data-key": "stratum", onchange: (event) => change({ stratum: event.target.value, page: "0" }) })));
}

function refreshControls(place, answer) {
  const [search, set, stratum] = ["search", "set", "stratum"].map((key) => place.querySelector(`[data-key=${key}]`));
  if (document.activeElement !== search) search.value = state.search;
  set.value = state.set;
  replace(stratum, el("option", { value: "" }, "all"), answer.strata.map((one) => el("option", { value: one }, one)));
  stratum.value = state.stratum;
  place.querySelector(".kinds").hidden = !answer.strata.length;
}

function fill(table, answer, onProblem) {
  const columns = COLUMNS.filter(([key]) => key !== "stratum" || answer.strata.length);
  replace(table,
    el("thead", {}, el("tr", {}, columns.map(head))),
    el("tbody", {}, answer.rows.map((one) => el("tr", { "data-problem": one.id }, columns.map(([key]) => cell(one, key, onProblem))))));
}

function head([key, words]) {
  const current = state.sort.replace(/^-/, "") === key;
  const down = state.sort.startsWith("-");
  const next = current && !down ? `-${key}` : key;
  return el("th", { scope: "col", "aria-sort": current ? (down ? "descending" : "ascending") : "none" },
    el("button", { type: "button", class: "sort", "data-key": `sort-${key}`, onclick: () => change({ sort: next, page: "0" }) }, words, current ? (down ? " ↓" : " ↑") : ""));
}

function cell(one, key, onProblem) {
  if (key === "id") {
    const open = () => onProblem(one.id);
    return el("th", { scope: "row" }, el("button", { type: "button", class: "link", "data-key": `problem-${one.id}`, onclick: open }, one.id));
  }
  if (key === "question") return el("td", { class: "question" }, one.question);
  if (key === "stratum") return el("td", {}, one.stratum);
  const words = {
    base_accuracy: () => `${percent(one.base_accuracy)} (${one.base_c}/${one.base_n})`,
    accuracy: () => `${percent(one.accuracy)} (${one.c}/${one.n})`,
    difference: () => points(one.difference),
    fisher_q: () => (one.fisher_q === null ? "–" : one.fisher_q < 0.001 ? one.fisher_q.toExponential(1) : one.fisher_q.toFixed(3)),
  };
  return el("td", { class: "number" }, words[key]());
}

function pager(place, { page, total, rows }) {
  const pages = Math.max(1, Math.ceil(total / ROWS));
  const go = (to) => change({ page: String(to) });
  replace(place,
    el("button", { type: "button", "data-key": "problems-before", disabled: page === 0, onclick: () => go(page - 1) }, "Previous"),
    el("span", { "aria-live": "polite" }, total ? `${count(page * ROWS + 1)} to ${count(page * ROWS + rows)} of ${count(total)}` : "No problem fits"),
    el("button", { type: "button", "data-key": "problems-after", disabled: page + 1 >= pages, onclick: () => go(page + 1) }, "Next"),
    el("span", { class: "dim" }, "q: false discovery rate of Fisher's exact test of each problem"));
}
