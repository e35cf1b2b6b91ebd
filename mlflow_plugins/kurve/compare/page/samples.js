// Samples of one problem, base and tuned side by side.

import { ask } from "./ask.js";
import { count, el, replace } from "./elements.js";
import { change, state } from "./state.js";

const PAGE = 10;
const OUTCOMES = [["", "all outcomes"], ["correct", "correct"], ["wrong", "wrong"], ["no_answer", "no answer"], ["truncated", "truncated"], ["timeout", "timeout"], ["error", "verifier failed"]];

export async function showSamples(place, { models, signal }) {
  const from = Number(state.from) || 0;
  const asked = models.map((one) => ask("samples", { runs: one.run_id, problem: state.problem, outcome: state.outcome, offset: from, limit: PAGE }, { signal })
    .catch((error) => { if (error.name === "AbortError") throw error; return { error: error.message, total: 0, samples: [], outcomes: {} }; }));
  const answers = await Promise.all(asked);
  const total = Math.max(...answers.map((one) => one.total));
  replace(place,
    el("p", { class: "problem-id" }, "Problem ", el("code", {}, state.problem)),
    el("div", { class: "line" },
      el("label", {}, "Show ", el("select", { "data-key": "outcome", onchange: (event) => change({ outcome: event.target.value, from: "0" }) },
        OUTCOMES.map(([value, words]) => el("option", { value, selected: value === state.outcome }, words)))),
      el("button", { type: "button", "data-key": "samples-before", disabled: from === 0, onclick: () => change({ from: String(Math.max(0, from - PAGE)) }) }, "Previous"),
      el("span", { "aria-live": "polite" }, total > from ? `${count(from + 1)} to ${count(Math.min(from + PAGE, total))} of ${count(total)}` : "No sample fits"),
      el("button", { type: "button", "data-key": "samples-after", disabled: from + PAGE >= total, onclick: () => change({ from: String(from + PAGE) }) }, "Next"),
      el("button", { type: "button", "data-key": "samples-close", onclick: () => change({ problem: "", from: "0" }) }, "Close")),
    el("div", { class: "panes" }, models.map((one, side) => pane(one, answers[side], side === 0 ? "base" : "tuned"))));
  place.dataset.shown = `${state.problem}/${state.outcome}/${from}`;
}

function pane(model, answer, role) {
  const parts = Object.entries(answer.outcomes).map(([outcome, number]) => `${outcome.replace("_", " ")} ${count(number)}`);
  const about = answer.source === "preview"
    ? "A preview of the samples: the evaluation kept no samples.parquet (tracker.samples=all keeps all)."
    : parts.join(", ");
  return el("article", { class: "pane", "aria-label": `Samples of ${model.label}` },
    el("h3", {}, model.label, el("span", { class: "dim" }, ` ${role}`)),
    answer.error ? el("p", { class: "error" }, answer.error) : el("p", { class: "dim" }, about),
    answer.samples.map((one) => card(model.run_id, one)));
}

function card(runId, sample) {
  const text = el("div", { class: "text", dir: "auto" }, sample.text);
  const facts = [
    ["answer", sample.answer || "none"], ["tokens", count(sample.num_tokens)], ["ended by", sample.finish_reason],
  ];
  const whole = sample.left_out ? el("button", {
    type: "button", onclick: async (event) => {
      const button = event.target;
      try {
        const found = await ask("sample", { runs: runId, problem: state.problem, index: sample.index });
        text.textContent = found.text;
        button.remove();
      } catch (error) {
        button.textContent = error.message;
      }
    },
  }, `Show all ${count(sample.left_out)} left out characters`) : null;
  return el("div", { class: `sample ${sample.outcome}` },
    el("div", { class: "line" }, el("strong", {}, `sample ${sample.index}`), el("span", { class: "badge" }, sample.outcome.replace("_", " "))),
    el("dl", {}, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    text, whole);
}
