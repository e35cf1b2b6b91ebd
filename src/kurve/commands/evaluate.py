"""`kurve evaluate`: sample, verify while sampling, report, track. Stopped at any point, the next start goes on."""

import dataclasses
import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kurve.benchmarks.rows import Benchmark
from kurve.commands import provenance
from kurve.commands.adaptive import draw_adaptively, unfinished
from kurve.commands.all_samples import write_all_samples
from kurve.commands.build import build
from kurve.commands.guessing import filtered_benchmark, questions_of
from kurve.commands.made import tell
from kurve.commands.matching import at_matched_temperature, keep
from kurve.commands.measure import Evaluation, measure, publish, show, tracked
from kurve.commands.models import with_name
from kurve.commands.sample import checked_sampler, open_store, stop_on_sigterm
from kurve.commands.sampling_plan import MAX_SAMPLES, Plan, make_plan, whole
from kurve.commands.stages import JudgeAlongside, draw, judge_stored, verdict_set
from kurve.commands.stopping import stopping_rule
from kurve.errors import ConfigError
from kurve.guess_filter import GuessFilter
from kurve.metrics.extrapolation import LEAST_PROBLEMS
from kurve.progress import Progress
from kurve.report import ReportSettings, check_budget
from kurve.samplers import Sampler
from kurve.store import SampleStore, VerdictStore
from kurve.tracking import Tracker
from kurve.types import StoppingRule
from kurve.verifiers import Verifier


def main(cfg: DictConfig) -> None:
    """Evaluate one model on one benchmark.

    Raises:
        KurveError: a user's mistake or a failure, in words; what was sampled is stored.
    """
    rule, settings, plan = planned(cfg)
    cfg = with_name(cfg, plan.model)
    verifier: Verifier = build(cfg.verifier, "verifier")
    tracker: Tracker = build(cfg.tracker, "tracker")
    tracker.check()
    measured, guesses = filtered_benchmark(cfg, settings, plan.benchmark, tracker)
    check_num_problems(settings, len(measured.problems))
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    with ExitStack() as stack:
        stack.enter_context(stop_on_sigterm())
        cfg, plan, matched = at_matched_temperature(cfg, plan, tracker, log=run_dir / "engine.log")
        judged_by = verdict_set(verifier, plan.benchmark)
        lacking = partial(unfinished, plan, rule, judged_by) if rule else None
        sampler = checked_sampler(cfg, plan, log=run_dir / "engine.log", lacking_in=lacking)
        store = stack.enter_context(open_store(cfg, plan, rule))
        keep(store.folder, matched)
        verdicts = stack.enter_context(VerdictStore.open(store, judged_by))
        evaluation = _evaluation(
            cfg, plan, settings, measured=measured, folder=store.folder, judged_by=judged_by, guesses=guesses
        )
        todo = stack.enter_context(tracked(tracker, evaluation))
        _draw_and_judge(plan, sampler, verifier, store=store, verdicts=verdicts, rule=rule)
        report = measure(evaluation, store, verdicts)
        publish(
            tracker,
            report,
            run_dir / "report",
            todo=todo,
            later=_send_later(cfg, store.folder),
            write_all=partial(write_all_samples, tracker, evaluation, store, verdicts=verdicts),
        )
        show(report, evaluation, tracker, folder=run_dir / "report", todo=todo)
        tell(
            "evaluate",
            store.folder,
            paths={"report": run_dir / "report"},
            run_id=tracker.run_id,
            run_url=tracker.url,
            model=plan.model.name,
            benchmark=plan.benchmark.name,
        )


def check(cfg: DictConfig) -> None:
    """Refuse what cannot work without an engine, a model or a tracking server at hand; see `sweeping`.

    Raises:
        KurveError: a user's mistake, in words.
    """
    _, _, plan = planned(cfg)
    build(cfg.verifier, "verifier")
    build(cfg.tracker, "tracker")
    build(cfg.sampler, "sampler", model=plan.model, decoding=plan.decoding, log=None)


def planned(cfg: DictConfig) -> tuple[StoppingRule | None, ReportSettings, Plan]:
    """When problems are stopped, what is measured, and what is drawn at most."""
    num_samples = whole(cfg.num_samples, "num_samples", least=1, most=MAX_SAMPLES)
    rule = stopping_rule(cfg)
    settings = report_settings(cfg.report, rule.most if rule else num_samples, rule)
    return rule, settings, dataclasses.replace(make_plan(cfg), num_samples=settings.num_samples)


def _evaluation(
    cfg: DictConfig,
    plan: Plan,
    settings: ReportSettings,
    *,
    measured: Benchmark,
    folder: Path,
    judged_by: str,
    guesses: GuessFilter | None,
) -> Evaluation:
    """What the run must say of itself."""
    return Evaluation(
        benchmark=measured,
        spec=plan.spec,
        model_name=plan.model.name,
        folder=folder,
        verifier=judged_by,
        settings=settings,
        config=provenance.recorded(cfg),
        tags=provenance.given_tags(cfg),
        guesses=guesses,
        left_out=questions_of(plan.benchmark, guesses),
    )


def _draw_and_judge(
    plan: Plan,
    sampler: Sampler,
    verifier: Verifier,
    *,
    store: SampleStore,
    verdicts: VerdictStore,
    rule: StoppingRule | None,
) -> None:
    """Draw what is missing and judge what is unjudged, at the same time."""
    missing = store.missing(plan.ids, plan.num_samples)
    problems = {problem.id: problem for problem in plan.benchmark.problems}
    counts = {problem_id: len(indices) for problem_id, indices in missing.items()}
    with verifier, Progress(missing=counts, num_problems=len(plan.ids)) as progress:
        if rule is not None:
            draw_adaptively(plan, rule, sampler, store=store, verdicts=verdicts, verifier=verifier, progress=progress)
        elif missing:
            with JudgeAlongside(verifier, verdicts, problems, progress) as judge:
                draw(plan, store, sampler, missing, progress=progress, on_stored=judge.offer)
        progress.stage("judging")
        judge_stored(store, verdicts, verifier, problems, num_samples=plan.num_samples, progress=progress)
        progress.stage("done")


def _send_later(cfg: DictConfig, store: Path) -> str:
    """The command that logs this evaluation from the store, to the same tracker, under the same key."""
    words = [f"samples={store}", *([f"num_samples={cfg.num_samples}"] if not cfg.sampling.get("adaptive") else [])]
    if cfg.benchmark.get("limit") is not None:
        words.append(f"limit={cfg.benchmark.limit}")
    settings = [one for one in HydraConfig.get().overrides.task if one.startswith(("tracker", "report", "verifier"))]
    return " ".join(["kurve report", *(shlex.quote(provenance.without_password(word)) for word in [*words, *settings])])


def report_settings(node: DictConfig, num_samples: int, stopping: StoppingRule | None = None) -> ReportSettings:
    """The report's settings, with ks that the samples allow.

    Raises:
        ConfigError: a k above `num_samples`.
    """
    settings: ReportSettings = build(node, "report", num_samples=num_samples, stopping=stopping)
    if settings.ks:
        check_budget(num_samples, settings.ks)
    return settings


def check_num_problems(settings: ReportSettings, num_problems: int) -> None:
    """Refuse to carry on the curve of too few problems, before they are sampled.

    Raises:
        ConfigError: `report.extrapolate` is set and there are fewer than 20.
    """
    if settings.extrapolate and num_problems < LEAST_PROBLEMS:
        raise ConfigError(
            f"report.extrapolate needs at least {LEAST_PROBLEMS} problems, got {num_problems}: the shape of a "
            "distribution is read from fewer only by luck; take more problems or report.extrapolate=null"
        )
