// What is shown, kept in the URL: the address of the page is a link to the view.

const DEFAULTS = {
  experiment: "", // id
  runs: "", // ids with commas, the base first
  tuned: "", // the run whose problems are shown; empty: the first after the base
  unpaired: "", // drop: compare the problems that both have
  set: "", stratum: "", search: "", sort: "order", page: "0", // of the problem table
  problem: "", outcome: "", from: "0", // of the samples
};

const listeners = [];
export const state = read();

export function chosenRuns() {
  return state.runs.split(",").filter(Boolean);
}

export function tunedRun() {
  const [, ...tuned] = chosenRuns();
  return tuned.includes(state.tuned) ? state.tuned : tuned[0] || "";
}

// A step that the back button undoes, unless `quiet`, as typing is; `told` leaves out those who draw.
export function change(changes, { quiet = false, told = true } = {}) {
  Object.assign(state, changes);
  const url = new URL(window.location.href);
  url.search = "";
  for (const [name, value] of Object.entries(state)) if (value !== DEFAULTS[name]) url.searchParams.set(name, value);
  window.history[quiet ? "replaceState" : "pushState"](null, "", url);
  if (told) for (const listener of listeners) listener(changes);
}

export function onChange(listener) {
  listeners.push(listener);
}

window.addEventListener("popstate", () => {
  Object.assign(state, read());
  for (const listener of listeners) listener({ ...state });
});

function read() {
  const given = new URLSearchParams(window.location.search);
  return Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, given.get(name) ?? DEFAULTS[name]]));
}
