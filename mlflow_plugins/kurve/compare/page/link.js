// In MLflow's own pages (KURVE_UI_LINK): a link to the compare page, on the experiment that is shown.

const ROOT = new URL(".", document.currentScript.src); // .../kurve/
const link = document.createElement("a");
link.id = "kurve-link";
link.textContent = "pass@k";
link.setAttribute("aria-label", "Compare pass@k");

function follow() {
  const [, experiment = ""] = window.location.hash.match(/^#\/experiments\/(\d+)/) ?? [];
  const page = new URL("../kurve", ROOT);
  if (experiment) page.searchParams.set("experiment", experiment);
  link.href = page.href;
  link.title = experiment ? "Curves, comparison and samples of this experiment" : "Curves, comparison and samples";
}

// MLflow changes its address without an event that others hear, so it is read when the link is about to be used.
for (const event of ["pointerenter", "focus", "pointerdown", "click"]) link.addEventListener(event, follow);
window.addEventListener("hashchange", follow);
follow();
document.body.prepend(link); // the first stop of the Tab key
