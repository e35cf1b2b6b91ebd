"""`kurve report`: measure stored samples and track the result."""

from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from kurve.commands import provenance
from kurve.commands.all_samples import write_all_samples
from kurve.commands.build import build
from kurve.commands.evaluate import check_num_problems, report_settings
from kurve.commands.guessing import filtered_benchmark, questions_of
from kurve.commands.measure import Evaluation, measure, publish, show, tracked
from kurve.commands.sampling_plan import whole
from kurve.commands.stages import judge_stored, verdict_set
from kurve.commands.stopping import is_adaptive, shortened_rule, stored_rule
from kurve.commands.stored import find_store, given_verdicts, stored_benchmark, stored_config
from kurve.errors import ConfigError
from kurve.store import SampleStore, VerdictStore
from kurve.tracking import Tracker
from kurve.types import StoppingRule
from kurve.verifiers import Verifier


def main(cfg: DictConfig) -> None:
    """Report on a sample store; samples without a verdict are judged first.

    Raises:
        KurveError: there is no such store, it does not fit the benchmark, or the tracker cannot be reached.
    """
    folder = find_store(cfg, str(cfg.samples))
    verifier: Verifier = build(cfg.verifier, "verifier")
    tracker: Tracker = build(cfg.tracker, "tracker")
    drawn_with = stored_config(folder)
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    with SampleStore.open_folder(folder) as store:
        benchmark = stored_benchmark(cfg, drawn_with, store)
        rule = stored_rule(folder)
        num_samples = _num_samples(cfg, store, [problem.id for problem in benchmark.problems], rule)
        rule = shortened_rule(rule, num_samples) if rule else None
        settings = report_settings(cfg.report, num_samples, rule)
        tracker.check()
        measured, guesses = filtered_benchmark(cfg, settings, benchmark, tracker)
        check_num_problems(settings, len(measured.problems))
        config = _config(drawn_with, cfg, num_samples)
        given = given_verdicts(drawn_with)
        evaluation = Evaluation(
            benchmark=measured,
            spec=store.spec,
            model_name=str(OmegaConf.select(config, "model.name", default=store.spec.model)),
            folder=folder,
            verifier=given or verdict_set(verifier, benchmark),
            settings=settings,
            config=provenance.recorded(config),
            guesses=guesses,
            left_out=questions_of(benchmark, guesses),
        )
        with tracked(tracker, evaluation) as todo:
            if not given:
                _judge_missing(store, evaluation, verifier)
            with VerdictStore.open(store, evaluation.verifier, read_only=True) as verdicts:
                report = measure(evaluation, store, verdicts)
                publish(
                    tracker,
                    report,
                    run_dir / "report",
                    todo=todo,
                    later=f"kurve report samples={folder} (with the settings of this call)",
                    write_all=partial(write_all_samples, tracker, evaluation, store, verdicts=verdicts),
                )
    show(report, evaluation, tracker, folder=run_dir / "report", todo=todo)


def _judge_missing(store: SampleStore, evaluation: Evaluation, verifier: Verifier) -> None:
    """Judge what has no verdict; a store that is complete is only read, so it may be on a read-only disk."""
    problems = {problem.id: problem for problem in evaluation.benchmark.problems}
    num_samples = evaluation.settings.num_samples
    with VerdictStore.open(store, evaluation.verifier, read_only=True) as verdicts:
        if not verdicts.missing(problems, num_samples):
            return
    with VerdictStore.open(store, evaluation.verifier) as verdicts, verifier:
        judge_stored(store, verdicts, verifier, problems, num_samples=num_samples)


def _config(drawn_with: DictConfig | None, cfg: DictConfig, num_samples: int) -> DictConfig:
    """The settings of the drawing with those of this report on top."""
    given = {key: cfg[key] for key in cfg if cfg[key] is not None}
    config = OmegaConf.merge(drawn_with or {}, given, {"num_samples": num_samples})
    assert isinstance(config, DictConfig)
    return config


def _num_samples(cfg: DictConfig, store: SampleStore, ids: list[str], rule: StoppingRule | None) -> int:
    """How many samples of each problem to use, with a stopping rule at most; ragged stores keep all of theirs.

    Not those whose numbers depend on outcomes and which no rule explains any more: they keep what all problems have.
    """
    wanted = cfg.num_samples
    if rule is not None:
        return rule.most if wanted is None else whole(wanted, "num_samples", least=2, most=rule.most)
    counts = store.counts()
    least = min(counts[problem_id] for problem_id in ids)
    if wanted is None:
        return least if is_adaptive(store.folder) else store.extent(ids)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= least:
        raise ConfigError(
            f"num_samples={wanted!r}, but the store holds {least} samples for some problem; give 1..{least}"
        )
    return wanted
