"""Evaluations as `kurve evaluate` logs them, made from counts."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kurve.comparison import pass_at_k_curve
from kurve.export import write_files
from kurve.metrics.coverage import accuracy_histogram
from kurve.perplexity import UNJUDGED, Distribution, measure
from kurve.perplexity_files import write_perplexities
from kurve.samples_file import NAME, write_samples
from kurve.types import Outcome, Sample, Table, Tally, Verdict
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.store.support import SPEC
from tests.tracking_samples import report, run_info

ATTACK = """<script>window.attacked=1</script><img src=x onerror="window.attacked=1"><b>bold</b> javascript:attack()"""
PREVIEW = ("problem", "index", "outcome", "answer", "reference", "finish_reason", "num_tokens", "text")


def log_evaluation(
    uri: str,
    folder: Path,
    *,
    name: str,
    correct: Sequence[int],
    n: int = 16,
    experiment: str = "compare",
    ids: Sequence[str] | None = None,
    strata: Sequence[str] | None = None,
    text: str = "the answer",
    response: Callable[[str, int], str] | None = None,
    tags: Mapping[str, str] | None = None,
    samples: bool = True,
) -> str:
    """A finished run whose problem i has correct[i] correct samples of n; the first ones are correct.

    `response` says what a problem's sample is; None: `text`, the problem and the sample's index. A million samples
    are made one by one.
    """
    problems = list(ids or [f"p{place}" for place in range(len(correct))])
    counts = np.array(correct, dtype=np.int64)
    kinds = tuple(strata or ("",) * len(problems))
    tally = Tally(tuple(problems), np.full(len(problems), n), counts, np.zeros_like(counts), strata=kinds)

    say = response or (lambda problem, index: f"{text} {problem} {index}")
    shown = list(zip(_samples(problems, min(n, 2), say), _verdicts(problems, correct, min(n, 2), text), strict=True))
    made = dataclasses.replace(
        report(n, tables=_tables(problems, shown), notes=(f"a note of {name}",)),
        tally=tally,
        curves=(pass_at_k_curve(tally, np.random.default_rng(0)),),
        histograms=(accuracy_histogram(tally),),
        model=name,
    )
    folder.mkdir(parents=True, exist_ok=True)
    files = write_files(made, folder)
    if samples:
        write_samples(folder / NAME, problems, _samples(problems, n, say), _verdicts(problems, correct, n, text))
        files.append(folder / NAME)
    tracker = MlflowTracker(uri=uri, experiment=experiment, new_run=True, saved_view=False)
    described = {"kurve.kind": "", "kurve.model": name, "kurve.benchmark": "gsm8k", **(tags or {})}
    tracker.start(run_info(f"key-{folder.name}", name=f"{name} on gsm8k", tags=described))
    tracker.log_report(made, files)
    tracker.finish("FINISHED")
    return tracker.run_id


def _samples(problems: Sequence[str], count: int, say: Callable[[str, int], str]) -> Iterator[Sample]:
    for problem in problems:
        for index in range(count):
            yield Sample(problem, index, say(problem, index), "stop", 7)


def _verdicts(problems: Sequence[str], correct: Sequence[int], count: int, text: str) -> Iterator[Verdict]:
    for problem, solved in zip(problems, correct, strict=True):
        for index in range(count):
            outcome = Outcome.CORRECT if index < solved else Outcome.WRONG
            yield Verdict(problem, index, outcome, f"{text} {index}")


def _tables(problems: Sequence[str], shown: Sequence[tuple[Sample, Verdict]]) -> tuple[Table, ...]:
    return (
        Table("problems", ("id", "question"), tuple((problem, f"what is {problem}?") for problem in problems)),
        Table("samples", PREVIEW, tuple(
            (one.problem_id, one.index, verdict.outcome.value, verdict.answer, "", "stop", 7, one.text)
            for one, verdict in shown
        )),
    )  # fmt: skip


def log_perplexities(uri: str, folder: Path, runs: Mapping[str, str], *, experiment: str = "compare") -> str:
    """A finished run of `kurve score`: responses of models under the first of them, by the ids of their evaluations."""
    base, *others = runs
    found = measure([_drawn(name, base, place) for place, name in enumerate(runs)], base=0)
    files = write_perplexities(found, folder, title="responses under the base")
    tags = {"kurve.kind": "perplexity", "kurve.model": base, "kurve.base_run_id": runs[base]}
    tags["kurve.run_ids"] = ", ".join(runs[name] for name in others)
    tracker = MlflowTracker(uri=uri, experiment=experiment, new_run=True, saved_view=False)
    tracker.start(run_info(f"key-{folder.name}", name=f"perplexity under {base}", tags=tags))
    tracker.log_files(files, "perplexity")
    tracker.finish("FINISHED")
    return tracker.run_id


def _drawn(name: str, scored_by: str, place: int) -> Distribution:
    """400 responses of two problems; later models say what the base finds likelier."""
    rng = np.random.default_rng(place)
    tokens = rng.integers(20, 80, 400)
    return Distribution(
        scored_by=scored_by,
        drawn_by=name,
        source=f"/stores/{name}",
        spec=dataclasses.replace(SPEC, temperature=1.0, top_p=1.0),
        problem_ids=("p0", "p1"),
        problem=np.arange(400, dtype=np.int64) % 2,
        index=np.arange(400, dtype=np.int64) // 2,
        num_tokens=tokens,
        num_bytes=3 * tokens,
        logprob_sum=-tokens * rng.gamma(8.0, 0.05 / (1 + place), 400),
        correct=np.full(400, UNJUDGED, dtype=np.int8),
    )
