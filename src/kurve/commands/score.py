"""`kurve score`: how likely a model finds stored samples, and where they lie among the base's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.made import tell
from kurve.commands.models import build_model, with_name
from kurve.commands.publishing import publish_files
from kurve.commands.sample import stop_on_sigterm
from kurve.commands.sampling_plan import MAX_SAMPLES, checked, lora_address, whole, with_local_revision
from kurve.commands.score_show import show
from kurve.commands.score_sources import Source, base_place, find_sources, reference_source
from kurve.commands.score_stores import (
    Chosen,
    Columns,
    Reading,
    check_reading,
    choose,
    chosen_verdicts,
    own_distribution,
    read_columns,
    score_missing,
    score_set,
    scored_distribution,
)
from kurve.errors import ConfigError, TrackingError
from kurve.metrics.likelihood import histogram, perplexity
from kurve.perplexity import UNITS, Distribution, Perplexities, measure
from kurve.perplexity_files import NAME, as_json, write_perplexities
from kurve.samplers import Scorer
from kurve.store import scoring_models
from kurve.tracking import RunInfo, TimedPoint, Tracker, now_ms
from kurve.types import Model, ScoringModel

_AGREE = 0.01  # nats a token, by which the numbers of two engines may differ without a word


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is scored by what, all of it checked."""

    model: Model
    scoring: ScoringModel
    scorer: Scorer
    sources: tuple[Source, ...]
    readings: tuple[Reading, ...]  # of each source
    chosen: tuple[Chosen, ...]
    verdicts: tuple[str | None, ...]
    base: int | None  # place among the sources
    unit: str
    confidence: float
    notes: tuple[str, ...]

    @property
    def scored_by(self) -> str:
        """The scoring model's name: the one that its own store is called by."""
        return self.model.name if self.base is None else self.sources[self.base].name


def main(cfg: DictConfig) -> None:
    """Score what has no score of this model yet, measure, write the numbers and the figure, track them.

    Raises:
        KurveError: a user's mistake or a failure, in words; what was scored is stored.
    """
    tracker: Tracker = build(cfg.tracker, "tracker")
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    with stop_on_sigterm():
        plan = _plan(cfg, tracker, run_dir / "engine.log")
        tracker.check()
        for source, chosen, reading in zip(plan.sources, plan.chosen, plan.readings, strict=True):
            score_missing(source.store, plan.scorer, plan.scoring, chosen, reading=reading)
    found = _measured(plan)
    title = f"Perplexity under {plan.scored_by}"
    files = write_perplexities(found, run_dir / NAME, title=title)
    _publish(with_name(cfg, plan.model), plan, found, files, tracker=tracker)
    show(found, title=title, folder=run_dir / NAME, url=tracker.url, hint=tracker.hint)
    tell("score", run_dir / NAME, paths={"numbers": files[0]}, run_id=tracker.run_id, run_url=tracker.url)


def _plan(cfg: DictConfig, tracker: Tracker, log: Path) -> _Plan:
    """Everything that can be refused is refused here, before weights are loaded."""
    if cfg.unit not in UNITS:
        raise ConfigError(f"unit is {cfg.unit!r}; expected {' or '.join(UNITS)}")
    if cfg.other_tokenizer not in ("refuse", "retokenise"):
        raise ConfigError(f"other_tokenizer is {cfg.other_tokenizer!r}; expected refuse or retokenise")
    if not isinstance(cfg.confidence, float) or not 0 < cfg.confidence < 1:
        raise ConfigError(f"confidence is {cfg.confidence!r}; expected a fraction between 0 and 1, as 0.95")
    n = None if cfg.num_samples is None else whole(cfg.num_samples, "num_samples", least=1, most=MAX_SAMPLES)
    limit = None if cfg.limit is None else whole(cfg.limit, "limit", least=1)
    sources = find_sources(cfg, tracker)
    model = with_local_revision(checked(build_model(cfg)))
    scorer: Scorer = build(cfg.scorer, "scorer", model=model, log=log)
    base = base_place(cfg, sources, model, lora_address(model))
    ids = None if limit is None else _first_problems(sources[0], limit)
    notes: list[str] = []
    if (texts := reference_source(cfg, sources)) is not None:
        sources.append(texts)
        notes.append(f"The texts of {texts.name} were not drawn by a model, so no end token of theirs is scored.")
    readings, chosen, verdicts = [], [], []
    for source in sources:
        chosen.append(choose(source.store, limit=ids, num_samples=n))
        allowed = cfg.unit == "byte" or cfg.other_tokenizer == "retokenise"
        readings.append(check_reading(source.store, scorer, allowed=allowed))
        name, note = chosen_verdicts(source.folder, None if cfg.verdicts is None else str(cfg.verdicts))
        verdicts.append(name)
        notes += [note] if note else []
    if base is None:
        notes.append("No store is the scoring model's own, so nothing is placed among its samples; base=... names one.")
    return _Plan(
        model, _scoring_model(model, scorer), scorer, tuple(sources), tuple(readings), tuple(chosen), tuple(verdicts),
        base, str(cfg.unit), cfg.confidence, tuple(notes),
    )  # fmt: skip


def _scoring_model(model: Model, scorer: Scorer) -> ScoringModel:
    local = Path(model.path).is_absolute()
    return ScoringModel(
        "" if local else model.path, model.revision, lora_address(model).partition("@")[2], scorer.dtype, scorer.engine
    )


def _first_problems(source: Source, limit: int) -> list[str]:
    """The first problems of a store in the order in which they were asked."""
    counts = source.store.counts()
    return [prompt.problem_id for prompt in source.store.prompts() if counts.get(prompt.problem_id)][:limit]


def _measured(plan: _Plan) -> Perplexities:
    under_scorer: list[Distribution] = []
    under_itself: list[Distribution] = []
    notes = list(plan.notes)
    for place, source in enumerate(plan.sources):
        chosen, difference = plan.chosen[place], plan.readings[place].difference
        columns = read_columns(source.store, score_set(plan.scoring), chosen, plan.verdicts[place])
        under_scorer.append(
            scored_distribution(source, chosen, columns, scored_by=plan.scored_by, counted=not difference)
        )
        if difference:
            notes.append(f"{plan.scored_by} does not read {source.name} as its model: {difference}.")
        if place == plan.base:
            notes += _agreement(source, columns)
        elif not difference or plan.unit == "byte":
            own = own_distribution(source, chosen, columns)
            own = own or _scored_by_itself(source, chosen, plan.verdicts[place])
            under_itself += [own] if own else []
    found = [*under_scorer, *under_itself]
    return measure(found, base=plan.base, unit=plan.unit, confidence=plan.confidence, notes=notes)


def _scored_by_itself(source: Source, chosen: Chosen, verdicts: str | None) -> Distribution | None:
    """The samples under the model that drew them, if an earlier call scored them with it."""
    for name, model in scoring_models(source.store).items():
        if model.revision and model.revision == source.store.spec.model_revision:
            columns = read_columns(source.store, name, chosen, verdicts)
            if not np.isnan(columns.logprob).all():
                return scored_distribution(source, chosen, columns, scored_by=source.name, counted=True)
    return None


def _agreement(source: Source, columns: Columns) -> list[str]:
    """Whether the base's scores are the log-probabilities that were stored when it was drawn."""
    same = (columns.tokens == columns.drawn_tokens) & (columns.tokens > 0)
    apart = np.abs(columns.logprob - columns.drawn_logprob)[same] / columns.tokens[same]
    apart = apart[np.isfinite(apart)]
    if not apart.size or np.median(apart) <= _AGREE:
        return []
    return [
        f"The scores of {source.name} differ from the log-probabilities stored when it was drawn, by "
        f"{np.median(apart):.3f} nats a token in the median: other weights, precision or engine drew it."
    ]


def _publish(cfg: DictConfig, plan: _Plan, found: Perplexities, files: Sequence[Path], *, tracker: Tracker) -> None:
    try:
        publish_files(tracker, _run_info(cfg, plan, found), files, NAME, points=_points(found))
    except TrackingError as error:
        raise TrackingError(
            f"{error}\nNothing is lost: the numbers are in {files[0].parent}, and scores are stored"
        ) from error


def _run_info(cfg: DictConfig, plan: _Plan, found: Perplexities) -> RunInfo:
    config = provenance.recorded(cfg)
    tags = {
        "kurve.kind": NAME,
        "kurve.model": plan.scored_by,
        "kurve.scores": score_set(plan.scoring),
        "kurve.fingerprints": ", ".join(source.folder.name for source in plan.sources),
        "kurve.drawn_by": ", ".join(source.name for source in plan.sources),
    }
    runs = [source.run_id for source in plan.sources]
    if plan.base is not None and runs[plan.base]:
        tags["kurve.base_run_id"] = runs[plan.base]
    if others := [run for place, run in enumerate(runs) if run and place != plan.base]:
        tags["kurve.run_ids"] = ", ".join(others)
    if commit := provenance.git_commit():
        tags["kurve.git_commit"] = commit
    return RunInfo(
        key=provenance.digest(NAME, score_set(plan.scoring), [one.folder.name for one in plan.sources], as_json(found)),
        name=f"perplexity of {', '.join(source.name for source in plan.sources)} under {plan.scored_by}"[:200],
        params=provenance.flat_params(config),
        tags=tags,
        config_yaml=provenance.as_yaml(config),
        versions=provenance.versions(),
    )


def _points(found: Perplexities) -> list[TimedPoint]:
    """Numbers by distribution, and the histogram in bins that all runs share, the bin as step."""
    now = now_ms()
    points: list[TimedPoint] = []
    for one, summary in zip(found.distributions, found.all, strict=True):
        lower, median, upper = perplexity(summary.quartiles).tolist()
        numbers: Mapping[str, float] = {
            "median": median,
            "lower_quartile": lower,
            "upper_quartile": upper,
            "mean_log": summary.mean.value,
            "mean_log_low": summary.mean.low,
            "mean_log_high": summary.mean.high,
        }
        points += [TimedPoint(f"{NAME}/{one.name}/{key}", value, 0, now) for key, value in numbers.items()]
        counts = histogram(one.log_perplexities(found.unit))
        shares = (counts / counts.sum()).tolist()
        points += [TimedPoint(f"{NAME}/{one.name}/histogram", share, bin_, now) for bin_, share in enumerate(shares)]
    for each in found.against_base:
        change = each.length
        numbers = {
            "quantile": each.quantile.value,
            "difference_log": change.raw.value,
            "difference_log_at_equal_length": change.adjusted.value,
        }
        points += [
            TimedPoint(f"{NAME}/{each.name} against base/{key}", value, 0, now) for key, value in numbers.items()
        ]
    return points
