// Which experiment, which runs, which of them is the base. MLflow lists only what the user may read.

import { search, stockPage } from "./ask.js";
import { count, el, replace } from "./elements.js";
import { change, chosenRuns, state } from "./state.js";

const MOST_RUNS = 20;
const EVALUATIONS = ["", "base", "rlvr", "distill"]; // values of kurve.kind; trainings, studies and figures have others
let runs = [];

export async function loadExperiments(select) {
  const found = await search("experiments/search", { order_by: ["last_update_time DESC"] }, "experiments");
  if (!state.experiment) {
    const first = found.find((one) => one.name === "kurve") || found.find((one) => one.experiment_id !== "0") || found[0];
    change({ experiment: first ? first.experiment_id : "" }, { quiet: true, told: false });
  }
  if (state.experiment && !found.some((one) => one.experiment_id === state.experiment)) {
    found.push({ experiment_id: state.experiment, name: `${state.experiment} (not there, or not yours to read)` });
  }
  replace(select, found.map((one) => el("option", { value: one.experiment_id }, one.name)));
  select.value = state.experiment;
}

// All evaluations of the experiment, the newest first, and the perplexities that were measured of them.
export async function loadRuns() {
  const found = await search("runs/search", {
    experiment_ids: [state.experiment], filter: "attributes.status = 'FINISHED'", order_by: ["attributes.start_time DESC"],
  }, "runs");
  const described = found.map(described_);
  runs = described.filter((one) => EVALUATIONS.includes(one.kind) && one.benchmark);
  if (!state.runs) change({ runs: suggested(runs).join(",") }, { quiet: true, told: false });
  return { runs, scored: described.filter((one) => one.kind === "perplexity") };
}

export function showRuns(place, summary, wanted) {
  const chosen = chosenRuns();
  const words = wanted.trim().toLowerCase();
  const shown = runs.filter((one) => !words || one.searched.includes(words) || chosen.includes(one.id));
  shown.sort((a, b) => chosen.includes(b.id) - chosen.includes(a.id));
  const unlisted = chosen.filter((id) => !runs.some((one) => one.id === id)).length;
  replace(summary, unlisted ? `${chosen.length} chosen, ${unlisted} of them not in this list` : `${chosen.length} of ${count(runs.length)} chosen`);
  if (!runs.length) {
    replace(place, el("p", {}, "You see no finished evaluation in this experiment: there is none yet (`kurve evaluate` makes one), or you may not read it. Choose another experiment, or ask for READ permission."));
    return;
  }
  const heads = ["show", "base", "model", "benchmark", "role", "started", ""];
  replace(place, el("table", { class: "runs" },
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, shown.map((one) => row(one, chosen)))));
}

function row(one, chosen) {
  const included = chosen.includes(one.id);
  return el("tr", {},
    el("td", {}, el("input", {
      type: "checkbox", "data-key": `show-${one.id}`, "aria-label": `Show ${one.name} on ${one.benchmark}`, checked: included,
      disabled: !included && chosen.length >= MOST_RUNS, onchange: () => toggle(one.id),
    })),
    el("td", {}, el("input", {
      type: "radio", name: "base", "data-key": `base-${one.id}`, "aria-label": `Compare with ${one.name} as the base`, checked: chosen[0] === one.id,
      disabled: !included && chosen.length >= MOST_RUNS, onchange: () => choose([one.id, ...chosen.filter((id) => id !== one.id)]),
    })),
    el("th", { scope: "row" }, one.name), el("td", {}, one.benchmark), el("td", {}, one.role),
    el("td", {}, new Date(one.started).toLocaleString()),
    el("td", {}, el("a", { href: stockPage(`#/experiments/${encodeURIComponent(state.experiment)}/runs/${encodeURIComponent(one.id)}`) }, "run")));
}

function toggle(id) {
  const chosen = chosenRuns();
  choose(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id]);
}

function choose(ids) {
  change({ runs: ids.join(","), problem: "", page: "0", from: "0" });
}

function described_(run) {
  const tags = Object.fromEntries((run.data.tags || []).map((tag) => [tag.key, tag.value]));
  const one = {
    id: run.info.run_id, started: Number(run.info.start_time), kind: tags["kurve.kind"] || "",
    name: tags["kurve.model"] || run.info.run_name || run.info.run_id, benchmark: tags["kurve.benchmark"] || "",
    role: tags["kurve.role"] || "", base: tags["kurve.base_run_id"] || "", runs: (tags["kurve.run_ids"] || "").split(", "),
  };
  one.searched = [one.id, one.name, one.benchmark, one.role, run.info.run_name, ...Object.values(tags)].join("\n").toLowerCase();
  return one;
}

// The newest run that names its base, with all that name the same; else the two newest of one benchmark.
function suggested(found) {
  const ids = new Set(found.map((one) => one.id));
  const newest = found.find((one) => ids.has(one.base));
  if (newest) {
    const tuned = found.filter((one) => one.base === newest.base && one.benchmark === newest.benchmark);
    return [newest.base, ...tuned.map((one) => one.id)].slice(0, 6);
  }
  const [first] = found;
  const second = first && found.find((one) => one !== first && one.benchmark === first.benchmark);
  return second ? [second.id, first.id] : first ? [first.id] : [];
}
