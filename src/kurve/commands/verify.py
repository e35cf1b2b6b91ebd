"""`kurve verify`: judge stored samples; no model is needed."""

from collections import Counter

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve.commands.build import build
from kurve.commands.sample import stop_on_sigterm
from kurve.commands.stages import judge_stored, verdict_set
from kurve.commands.stored import find_store, stored_benchmark, stored_config
from kurve.progress import Progress
from kurve.store import SampleStore, VerdictStore
from kurve.types import Outcome
from kurve.verifiers import Verifier


def main(cfg: DictConfig) -> None:
    """Judge what has no verdict of this verifier yet.

    Raises:
        KurveError: there is no such store, or it does not fit the benchmark.
    """
    folder = find_store(cfg, str(cfg.samples))
    verifier: Verifier = build(cfg.verifier, "verifier")
    with stop_on_sigterm(), SampleStore.open_folder(folder) as store:
        benchmark = stored_benchmark(cfg, stored_config(folder), store)
        problems = {problem.id: problem for problem in benchmark.problems}
        with (
            VerdictStore.open(store, verdict_set(verifier, benchmark)) as verdicts,
            verifier,
            Progress(missing={}, num_problems=len(problems)) as progress,
        ):
            progress.stage("judging")
            judge_stored(store, verdicts, verifier, problems, num_samples=store.extent(problems), progress=progress)
            progress.stage("done")
            outcomes: Counter[Outcome] = sum(verdicts.counts(problems).values(), Counter())
    console = Console(highlight=False)
    total = sum(outcomes.values())
    for outcome in Outcome:
        if count := outcomes.get(outcome, 0):
            console.print(Text(f"  {outcome.value:<10} {count:>10,}  {count / total:.1%}"))
    console.print(Text(f"verdicts {folder} ({verdicts.verifier})"), soft_wrap=True)
    console.print(Text(f"next:    kurve report samples={folder.name}"), soft_wrap=True)
