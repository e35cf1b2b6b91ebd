"""`kurve import`: bring samples and verdicts that another tool made into a store and the tracker."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from kurve.benchmarks.rows import Benchmark
from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.evaluate import report_settings
from kurve.commands.imported import Found, checked, describe
from kurve.commands.importing import judge, keep, settings_of, source_tag, summarise
from kurve.commands.made import tell
from kurve.commands.measure import Evaluation, measure, publish, show, tracked
from kurve.commands.sample import stop_on_sigterm
from kurve.errors import ConfigError
from kurve.import_progress import ImportProgress
from kurve.importers.identify import FromFile, OfBenchmark
from kurve.importers.survey import survey
from kurve.tracking import Tracker
from kurve.types import Report
from kurve.verifiers import Verifier


@dataclass(frozen=True, slots=True)
class Imported:
    """An import that has ended."""

    evaluation: Evaluation
    report: Report
    folder: Path  # of the report's files
    todo: bool  # whether its run is new


def main(cfg: DictConfig) -> None:
    """Import, judge what has no verdict, report and track.

    Raises:
        KurveError: a user's mistake or a file that cannot be read, in words; of such a file nothing is stored.
    """
    if cfg.unmatched not in ("refuse", "drop"):
        raise ConfigError(f"unmatched is {cfg.unmatched!r}; expected refuse or drop")
    asked: Benchmark | None = build(cfg.benchmark, "benchmark") if cfg.get("benchmark") is not None else None
    described = describe(cfg, asked)
    verifier: Verifier = build(cfg.verifier, "verifier")
    tracker: Tracker = build(cfg.tracker, "tracker")
    tracker.check()
    report_settings(cfg.report, 100_000)  # what is wrong whatever n is
    problems = OfBenchmark(asked) if asked else FromFile()
    with stop_on_sigterm(), ImportProgress(total_bytes=described.source.size) as progress:
        seen = survey(described.source, problems, progress.begin("checking"), progress.rows)
        found = checked(cfg, described, seen, problems, asked=asked)
        done = _import(cfg, found, verifier, tracker, progress=progress)
    _say(found, done, tracker)


def _import(
    cfg: DictConfig, found: Found, verifier: Verifier, tracker: Tracker, *, progress: ImportProgress
) -> Imported:
    settings = report_settings(cfg.report, found.survey.extent)
    folder = Path(HydraConfig.get().runtime.output_dir) / "report"
    with ExitStack() as stack:
        store, judged_by = keep(cfg, found, verifier, stack, progress=progress)
        evaluation = Evaluation(
            benchmark=found.benchmark,
            spec=store.spec,
            model_name=found.described.facts.model,
            folder=store.folder,
            verifier=judged_by,
            settings=settings,
            config=settings_of(cfg, found, judged_by),
            tags=provenance.given_tags(cfg) | source_tag(found.described),
        )
        todo = stack.enter_context(tracked(tracker, evaluation))
        verdicts = judge(found, store, verifier, judged_by, stack=stack, progress=progress)
        report = measure(evaluation, store, verdicts)
        publish(tracker, report, folder, todo=todo, later=f"kurve report samples={store.folder}")
        progress.stage("imported")
    return Imported(evaluation, report, folder, todo)


def _say(found: Found, done: Imported, tracker: Tracker) -> None:
    evaluation = done.evaluation
    summarise(found, evaluation.verifier, Console(highlight=False))
    show(done.report, evaluation, tracker, folder=done.folder, todo=done.todo)
    tell(
        "import",
        evaluation.folder,
        paths={"report": done.folder},
        run_id=tracker.run_id,
        run_url=tracker.url,
        model=evaluation.model_name,
        benchmark=evaluation.benchmark.name,
    )
