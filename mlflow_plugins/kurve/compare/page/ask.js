// Requests to the server that serves this page, whatever path a proxy gives it. MLflow decides what the user may see.

const ROOT = new URL(".", window.location.href);
const kept = new Map(); // answers that cannot change while the page is open
const MOST_KEPT = 200;

export class Refused extends Error {}

// One of kurve's endpoints, see docs/compare-page.md.
export async function ask(endpoint, parameters, { keep = false, signal } = {}) {
  const url = new URL(`ajax-api/2.0/kurve/${endpoint}`, ROOT);
  for (const [name, value] of Object.entries(parameters)) if (value !== "") url.searchParams.set(name, value);
  if (keep && kept.has(url.href)) return kept.get(url.href);
  const answer = await answered(await fetch(url, { signal, headers: { Accept: "application/json" } }));
  if (keep) {
    if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value);
    kept.set(url.href, answer);
  }
  return answer;
}

// One of MLflow's own search endpoints, all pages up to `most` entries.
export async function search(endpoint, body, name, most = 5000) {
  const found = [];
  let token = "";
  do {
    const response = await fetch(new URL(`ajax-api/2.0/mlflow/${endpoint}`, ROOT), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...body, max_results: 1000, ...(token ? { page_token: token } : {}) }),
    });
    const answer = await answered(response);
    found.push(...(answer[name] || []));
    token = answer.next_page_token;
  } while (token && found.length < most);
  return found;
}

export function stockPage(hash) {
  return new URL(`./${hash}`, ROOT).href;
}

async function answered(response) {
  if (response.ok) return response.json();
  const words = await response.text();
  let message = "";
  try {
    message = JSON.parse(words).message;
  } catch {
    message = "";
  }
  if (response.status === 401 || response.status === 403) {
    throw new Refused(message || "You may not read this, or it does not exist. Ask for READ permission on its experiment.");
  }
  throw new Refused(message || `The server answered ${response.status} ${response.statusText}`);
}
