// Puts the page together: each part is filled as its answer arrives, and a newer view overtakes an older one.

import { ask } from "./ask.js";
import { accuracies, histogramOf, inUse } from "./bars.js";
import { loadExperiments, loadRuns, showRuns } from "./choose.js";
import { differences, passAtK } from "./curves.js";
import { el, replace } from "./elements.js";
import { coverage, numbers, verdicts } from "./findings.js";
import { kinds } from "./kinds.js";
import { markProblem, showProblems } from "./problems.js";
import { showSamples } from "./samples.js";
import { change, chosenRuns, onChange, state, tunedRun } from "./state.js";

const byId = (id) => document.getElementById(id);
const body = (id) => byId(id).querySelector(".body");
const STATISTICS = ["experiment", "runs", "unpaired"];
const TABLE = [...STATISTICS, "tuned", "set", "stratum", "search", "sort", "page"];
const SAMPLES = ["runs", "tuned", "problem", "outcome", "from"];

let scored = [];
let models = []; // curves that were read, with label and place
let comparisons = [];
const running = {}; // the request of each part that is under way

start();

async function start() {
  byId("experiment").addEventListener("change", (event) => change({ experiment: event.target.value, runs: "", tuned: "", problem: "", page: "0" }));
  byId("find-run").addEventListener("input", (event) => showRuns(byId("runs"), byId("chosen"), event.target.value));
  onChange(update);
  await guarded(async () => {
    await loadExperiments(byId("experiment"));
    await experiment();
  });
}

async function update(changes) {
  const changed = (names) => names.some((name) => name in changes);
  await guarded(async () => {
    if ("experiment" in changes) return experiment();
    if (changed(STATISTICS)) return statistics();
    if (changed(["tuned", "set", "stratum"])) showCoverage();
    if ("problem" in changes) markProblem(body("problems"));
    const parts = [];
    if (changed(TABLE)) parts.push(table());
    if (changed(SAMPLES)) parts.push(sampled());
    return Promise.all(parts);
  });
}

async function experiment() {
  byId("experiment").value = state.experiment;
  byId("stock").href = `./#/experiments/${encodeURIComponent(state.experiment)}`;
  if (state.experiment) ({ scored } = await loadRuns());
  return statistics();
}

async function statistics() {
  const turn = next("statistics");
  keepFocus(() => showRuns(byId("runs"), byId("chosen"), byId("find-run").value));
  const ids = chosenRuns();
  byId("unpaired").hidden = true;
  if (!ids.length) return nothing();
  for (const id of ["curves", "findings"]) body(id).setAttribute("aria-busy", "true");
  const answers = await Promise.all(ids.map((id) => curve(id, turn)));
  if (turn.signal.aborted) return undefined;
  models = labelled(answers.filter((one) => !one.error));
  showCurves(answers.filter((one) => one.error));
  const rest = Promise.all([table(), sampled()]);
  await compareAll(turn);
  return rest;
}

async function curve(id, turn) {
  try {
    const [found] = (await ask("curves", { runs: id }, { keep: true, signal: turn.signal })).curves;
    return { ...found, place: chosenRuns().indexOf(id) };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { run_id: id, error: error.message };
  }
}

async function compareAll(turn) {
  const base = models.find((one) => one.place === 0);
  const tuned = models.filter((one) => one.place > 0);
  const refused = [];
  comparisons = (await Promise.all(tuned.map(async (one) => {
    if (!base) return null;
    try {
      const found = await ask("comparison", { runs: `${base.run_id},${one.run_id}`, unpaired: state.unpaired }, { keep: true, signal: turn.signal });
      return { ...found, place: one.place, label: one.label, baseLabel: base.label, run_id: one.run_id };
    } catch (error) {
      if (error.name === "AbortError") throw error;
      refused.push(`${one.label}: ${error.message}`);
      return null;
    }
  }))).filter(Boolean);
  if (turn.signal.aborted) return;
  showRefused(refused);
  showFindings(base, tuned);
  showCoverage();
}

function showCurves(failed) {
  body("curves").removeAttribute("aria-busy");
  replace(body("curves"),
    failed.map((one) => el("p", { class: "error" }, `${one.run_id}: ${one.error}`)),
    models.length ? passAtK(models) : null,
    models.length ? el("p", { class: "dim" }, "Bands hold for all k at once, with 95 % confidence, for problems like these.") : null);
  replace(body("histograms"), models.length ? accuracies(models) : null, ownHistograms(), el("div", { id: "perplexity" }));
  showPerplexity();
}

function ownHistograms() {
  const names = [...new Set(models.flatMap((one) => Object.keys(one.histograms)))];
  return names.map((name) => {
    const having = models.filter((one) => one.histograms[name]);
    const edges = having[0].histograms[name].edges;
    const same = having.filter((one) => String(one.histograms[name].edges) === String(edges));
    const series = same.map((one) => ({ name: one.label, place: one.place, counts: one.histograms[name].counts }));
    const isPerplexity = name === "perplexity"; // whose bins are even in its logarithm
    const words = (edge) => String(Number((isPerplexity ? Math.exp(edge) : edge).toPrecision(3)));
    const title = isPerplexity ? "Perplexity of each model's samples under itself" : name;
    return el("div", {}, el("h3", {}, title), histogramOf(series, { label: title, edges, title: name, words, unit: isPerplexity ? "samples" : "" }));
  });
}

// The newest run of `kurve score` that measured one of the chosen runs.
async function showPerplexity() {
  const ids = chosenRuns();
  const run = scored.find((one) => [one.base, ...one.runs].some((id) => ids.includes(id)));
  if (!run) return;
  try {
    const found = await ask("perplexity", { runs: run.id }, { keep: true });
    const drawn = inUse(found.distributions);
    const places = placesOf(found.distributions.map((one) => one.drawn_by));
    const series = drawn.counts.map((counts, row) => ({ name: found.distributions[row].name, place: places[row], counts }));
    const words = (edge) => String(Number(Math.exp(edge).toPrecision(3)));
    replace(byId("perplexity"), el("h3", {}, "Perplexity of single samples"), histogramOf(series, { label: "Samples by perplexity", edges: drawn.edges, title: `perplexity a ${found.unit}`, words, unit: "samples" }));
  } catch (error) {
    replace(byId("perplexity"), el("p", { class: "error" }, error.message));
  }
}

// A distribution has the colour of the model that drew it, if that is shown; others come after those of all that are.
function placesOf(drawers) {
  let free = Math.max(0, ...models.map((one) => one.place + 1));
  const taken = new Set();
  return drawers.map((name) => {
    const model = models.find((one) => one.name === name && !taken.has(one.place));
    const place = model ? model.place : free++;
    taken.add(place);
    return place;
  });
}

function showFindings(base, tuned) {
  body("findings").removeAttribute("aria-busy");
  const hint = !base ? "The base cannot be shown; the reason is under pass@k." : !tuned.length ? "Choose a second run to compare it with the base." : "";
  replace(body("findings"), comparisons.length ? verdicts(comparisons) : el("p", {}, hint), notes());
  replace(body("difference"), comparisons.length ? differences(comparisons) : el("p", {}, hint),
    comparisons.length ? el("p", { class: "dim" }, "Tuned − base in points, paired by problem. Where the band leaves out 0, a gain or loss is established. The bar above the axis is where the crossover may lie, the dot its estimate.") : null);
  replace(body("numbers"), comparisons.length ? numbers(comparisons) : null);
}

function notes() {
  const found = models.flatMap((one) => one.notes.map((note) => `${one.label}: ${note}`));
  if (!found.length) return null;
  return el("details", {}, el("summary", {}, `Before using the numbers (${found.length})`), el("ul", {}, found.map((note) => el("li", {}, note))));
}

function showRefused(refused) {
  byId("unpaired").hidden = !refused.length;
  if (!refused.length) return;
  replace(byId("unpaired"), refused.map((one) => el("p", {}, one)),
    state.unpaired ? null : el("button", { type: "button", onclick: () => change({ unpaired: "drop" }) }, "Compare the problems that both have"));
}

function showCoverage() {
  const one = comparisons.find((comparison) => comparison.run_id === tunedRun());
  const choice = comparisons.length > 1 ? el("label", {}, "Tuned ", el("select", { "data-key": "tuned", onchange: (event) => change({ tuned: event.target.value, from: "0" }) },
    comparisons.map((each) => el("option", { value: each.run_id, selected: each.run_id === tunedRun() }, each.label)))) : null;
  keepFocus(() => replace(body("coverage"), choice, one ? coverage(one, state.set, (set) => {
    change({ set, page: "0" });
    if (set) byId("problems").scrollIntoView({ block: "nearest" });
  }) : null));
  showKinds(one);
}

// A single kind would only say again what is said of all problems.
function showKinds(one) {
  const known = (one?.strata ?? []).length > 1;
  byId("kinds").hidden = !known;
  keepFocus(() => replace(body("kinds"), known ? kinds(one, state.stratum, (stratum) => {
    change({ stratum, page: "0" });
    if (stratum) byId("problems").scrollIntoView({ block: "nearest" });
  }) : null));
}

async function table() {
  const turn = next("table");
  if (chosenRuns().length < 2) return replace(body("problems"));
  const onProblem = (problem) => {
    change({ problem, from: "0" });
    byId("samples").focus({ preventScroll: true });
    byId("samples").scrollIntoView({ block: "start" });
  };
  try {
    return await keepFocus(() => showProblems(body("problems"), { signal: turn.signal, onProblem }));
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    return replace(body("problems"), el("p", { class: "error" }, error.message));
  }
}

async function sampled() {
  const turn = next("samples");
  byId("samples").hidden = !state.problem;
  if (!state.problem) return undefined;
  const shown = [models.find((one) => one.place === 0), models.find((one) => one.run_id === tunedRun())].filter(Boolean);
  if (!shown.length) return undefined;
  return keepFocus(() => showSamples(body("samples"), { models: shown, signal: turn.signal }));
}

function nothing() {
  [models, comparisons] = [[], []];
  for (const id of ["findings", "curves", "difference", "numbers", "coverage", "histograms", "problems"]) replace(body(id));
  replace(body("findings"), el("p", {}, "Choose at least one run."));
  byId("samples").hidden = byId("kinds").hidden = true;
}

// Names for people, all different.
function labelled(found) {
  const names = found.map((one) => one.name);
  return found.map((one) => ({ ...one, label: names.filter((name) => name === one.name).length > 1 ? `${one.name} (${one.run_id.slice(0, 6)})` : one.name }));
}

function next(part) {
  running[part]?.abort();
  running[part] = new AbortController();
  return running[part];
}

// A part that is drawn anew takes the focus away from its buttons; it comes back to the one with the same key.
async function keepFocus(draw) {
  const key = document.activeElement?.dataset?.key;
  const answer = await draw();
  if (key && document.activeElement === document.body) {
    [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key && !one.disabled)?.focus({ preventScroll: true });
  }
  return answer;
}

async function guarded(action) {
  const place = byId("problem-with-page");
  place.hidden = true;
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    place.textContent = error.message;
    place.hidden = false;
  }
}
