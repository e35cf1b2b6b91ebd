"use strict";
// Texts of models reach the page through textContent only: nothing of them is ever read as markup or code.
(() => {
  const byId = (id) => document.getElementById(id);
  const sheet = JSON.parse(byId("data").textContent);
  const rows = sheet.rows;
  const key = `kurve-review-${sheet.id}`;
  const words = ["sound", "unsound", "unsure"];
  let state = { judge: "", verdicts: {} }; // by sample: {verdict, comment}
  let at = 0; // row that is shown
  let unsaved = false;
  let kept = true; // whether this browser keeps verdicts

  const entry = (row) => state.verdicts[row.sample] || { verdict: "", comment: "" };
  const answered = (row) => entry(row).verdict !== "";
  const fits = (row) => {
    const choice = byId("filter").value;
    if (choice === "open") return !answered(row);
    if (choice === "unsure") return entry(row).verdict === "unsure";
    return choice === "all" || answered(row);
  };

  function restore(text) {
    const read = JSON.parse(text);
    const verdicts = {};
    for (const row of rows) {
      const one = read.verdicts && Object.hasOwn(read.verdicts, row.sample) ? read.verdicts[row.sample] : null;
      if (one && (words.includes(one.verdict) || one.verdict === "")) {
        verdicts[row.sample] = { verdict: one.verdict, comment: String(one.comment || "") };
      }
    }
    state = { judge: String(read.judge || ""), verdicts };
  }

  function keep() {
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch {
      kept = false;
    }
  }

  function notice(text) {
    byId("notice").textContent = text || (kept ? "" : "This browser keeps nothing: download before you close the page.");
  }

  function changed() {
    unsaved = true;
    keep();
    counts();
  }

  function set(row, change) {
    state.verdicts[row.sample] = { ...entry(row), ...change };
    changed();
  }

  function counts() {
    const done = rows.filter(answered).length;
    byId("bar").max = Math.max(rows.length, 1);
    byId("bar").value = done;
    byId("count").textContent = `${done} of ${rows.length} answered`;
    notice("");
  }

  function facts(row) {
    const list = byId("facts");
    list.replaceChildren();
    const known = { problem: row.problem_id, sample: row.index, model: row.model };
    if (row.num_samples) known.correct = `${row.num_correct} of ${row.num_samples} samples`;
    for (const [name, value] of Object.entries(known)) {
      if (value === undefined || value === "") continue;
      const pair = document.createElement("div");
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = String(value);
      pair.append(dt, dd);
      list.append(pair);
    }
  }

  function show() {
    const row = rows[at];
    const any = rows.some(fits);
    byId("empty").hidden = any && row !== undefined;
    byId("card").hidden = byId("verdict").hidden = !row || !any;
    byId("where").textContent = row ? `${at + 1} / ${rows.length}` : "";
    if (!row) return;
    facts(row);
    for (const name of ["question", "reference", "answer", "response"]) byId(name).textContent = row[name] || "\u2013";
    for (const radio of document.getElementsByName("verdict")) radio.checked = radio.value === entry(row).verdict;
    byId("comment").value = entry(row).comment;
    counts();
  }

  function go(to) {
    at = to;
    show();
    byId("main").scrollTop = 0; // wide
    byId("main").scrollIntoView(); // narrow, where the whole page scrolls
  }

  function move(step, wanted) {
    for (let row = at + step; row >= 0 && row < rows.length; row += step) {
      if (wanted(rows[row])) return go(row);
    }
    return undefined;
  }

  function unanswered() {
    const after = rows.findIndex((row, place) => place > at && !answered(row));
    const first = after >= 0 ? after : rows.findIndex((row) => !answered(row));
    if (first >= 0) go(first);
    else notice("All samples are answered: download the verdicts.");
  }

  function judgeBy(word) {
    if (!rows[at]) return;
    set(rows[at], { verdict: word });
    const before = at;
    if (word) move(1, fits);
    if (before === at) show();
  }

  const named = () => state.judge.trim();

  function download(name, text, type) {
    if (!named()) {
      notice("Enter your name first: verdicts are kept by judge.");
      byId("judge").focus();
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `${name}-${named().replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 60)}`;
    link.download += type === "application/json" ? ".json" : ".csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    unsaved = false;
  }

  const given = () => rows.filter((row) => answered(row) || entry(row).comment).map((row) => ({
    sample: row.sample, problem_id: row.problem_id, index: row.index, ...entry(row),
  }));

  function asJson() {
    const lines = given().map((one) => `  ${JSON.stringify(one)}`).join(",\n");
    return `{"format": "kurve-review-1", "sheet": ${JSON.stringify(sheet.id)}, "judge": ${JSON.stringify(named())},\n` +
      ` "verdicts": [\n${lines}\n]}\n`;
  }

  function asCsv() {
    const cell = (value) => {
      const text = String(value);
      const safe = /^\s*[=+\-@]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text) ? `'${text}` : text;
      return `"${safe.replace(/"/g, '""')}"`;
    };
    const lines = given().map((one) => [one.sample, one.problem_id, one.index, one.verdict, named(), one.comment]);
    return "\ufeff" + [["sample", "problem_id", "index", "verdict", "judge", "comment"], ...lines]
      .map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  async function load(file) {
    try {
      const read = JSON.parse(await file.text());
      if (read.format !== "kurve-review-1") throw new Error("no download of a review page");
      const known = new Set(rows.map((row) => row.sample));
      const fitting = read.verdicts.filter((one) => known.has(one.sample) && (words.includes(one.verdict) || !one.verdict));
      if (read.verdicts.length && !fitting.length) throw new Error("it belongs to another sheet");
      for (const one of fitting) {
        state.verdicts[one.sample] = { verdict: one.verdict || "", comment: String(one.comment || "") };
      }
      state.judge = state.judge || String(read.judge || "");
      byId("judge").value = state.judge;
      changed();
      show();
      notice(`${fitting.length} verdicts loaded.`);
    } catch (error) {
      notice(`${file.name} cannot be loaded: ${error.message}`);
    }
  }

  const keys = {
    1: () => judgeBy("sound"), 2: () => judgeBy("unsound"), 3: () => judgeBy("unsure"), 0: () => judgeBy(""),
    j: () => move(1, fits), ArrowRight: () => move(1, fits), k: () => move(-1, fits), ArrowLeft: () => move(-1, fits),
    u: unanswered, c: () => byId("comment").focus(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("textarea, select, input:not([type=radio])");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    if (event.target.matches("input[type=radio]")) event.target.blur(); // arrows move on instead of changing a verdict
    keys[event.key]();
  });
  for (const radio of document.getElementsByName("verdict")) {
    radio.addEventListener("change", () => set(rows[at], { verdict: radio.value }));
  }
  byId("comment").addEventListener("input", (event) => set(rows[at], { comment: event.target.value }));
  byId("judge").addEventListener("input", (event) => { state.judge = event.target.value; changed(); });
  byId("filter").addEventListener("change", () => {
    if (rows[at] && !fits(rows[at])) at = Math.max(rows.findIndex(fits), 0);
    show();
  });
  byId("previous").addEventListener("click", () => move(-1, fits));
  byId("next").addEventListener("click", () => move(1, fits));
  byId("jump").addEventListener("click", unanswered);
  byId("clear").addEventListener("click", () => judgeBy(""));
  byId("save").addEventListener("click", () => download("verdicts", asJson(), "application/json"));
  byId("save-csv").addEventListener("click", () => download("verdicts", asCsv(), "text/csv"));
  byId("load").addEventListener("change", (event) => { if (event.target.files[0]) load(event.target.files[0]); event.target.value = ""; });
  window.addEventListener("storage", (event) => {
    if (event.key === key && event.newValue) { restore(event.newValue); byId("judge").value = state.judge; show(); }
  });
  window.addEventListener("beforeunload", (event) => { if (unsaved && !kept) event.preventDefault(); });

  document.title = sheet.title;
  byId("title").textContent = sheet.title;
  try {
    const stored = localStorage.getItem(key);
    if (stored) restore(stored);
    localStorage.setItem(key, JSON.stringify(state));
  } catch {
    kept = false;
  }
  byId("judge").value = state.judge;
  const first = rows.findIndex((row) => !answered(row));
  at = Math.max(first, 0);
  show();
})();
