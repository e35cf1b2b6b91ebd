"""The guess filter: problems that direct answers hit by chance are left out of a report or a comparison."""

import dataclasses
from collections.abc import Sequence

from omegaconf import DictConfig

from kurve.benchmarks.rows import Benchmark
from kurve.commands.references import find
from kurve.errors import ConfigError, DataError
from kurve.guess_filter import GuessFilter
from kurve.metrics.chance import guessable
from kurve.report import ReportSettings
from kurve.tracking import Tracker
from kurve.types import Tally

_NAMED = 5  # ids that a refusal spells out


def guess_filter(
    cfg: DictConfig, key: str, ids: Sequence[str], tracker: Tracker, *, reference: object, threshold: object
) -> GuessFilter | None:
    """Which of the problems a run of direct answers marks as guessed; None without a reference.

    Args:
        cfg: the config of the command, for `find`.
        key: of the setting, for messages.
        ids: of the problems that are measured.
        tracker: where runs are looked up.
        reference: as given; anything that `kurve compare` takes for a model.
        threshold: as given.

    Raises:
        ConfigError: the reference names nothing, or the threshold is none.
        DataError: the direct answers lack a problem, or every problem would go.
    """
    if reference is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise ConfigError(f"guess_threshold is {threshold!r}; expected a fraction above 0 and up to 1, as 0.05")
    found = find(cfg, key, str(reference), tracker)
    tally = found.counted.tally
    place = {problem_id: at for at, problem_id in enumerate(tally.problem_ids)}
    if missing := [one for one in ids if one not in place or tally.num_samples[place[one]] < 1]:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(
            f"{key}={reference} has no direct answers to {', '.join(missing[:_NAMED])}{more}, {len(missing)} of the "
            f"{len(ids)} problems measured here; evaluate the same problems with prompt=direct, or name the run that "
            "has them"
        )
    rows = [place[one] for one in ids]
    n, c, errors = tally.num_samples[rows], tally.num_correct[rows], tally.num_errors[rows]
    gone = guessable(n, c, float(threshold))
    if gone.all():
        raise DataError(
            f"{key}={reference} marks all {len(ids)} problems as guessed, so none is left to measure; check that it "
            "holds direct answers, or lower guess_threshold"
        )
    guessed = tuple(one for one, out in zip(ids, gone.tolist(), strict=True) if out)
    return GuessFilter(found.source, float(threshold), Tally(guessed, n[gone], c[gone], errors[gone]), len(ids))


def filtered_benchmark(
    cfg: DictConfig, settings: ReportSettings, benchmark: Benchmark, tracker: Tracker
) -> tuple[Benchmark, GuessFilter | None]:
    """The benchmark without the problems that `report.guess_filter` marks, and what it marks.

    Raises:
        KurveError: as `guess_filter`.
    """
    found = guess_filter(
        cfg,
        "report.guess_filter",
        [problem.id for problem in benchmark.problems],
        tracker,
        reference=settings.guess_filter,
        threshold=settings.guess_threshold,
    )
    return (benchmark, None) if found is None else (without(benchmark, found.ids), found)


def without(benchmark: Benchmark, ids: Sequence[str]) -> Benchmark:
    """The benchmark without some of its problems."""
    gone = frozenset(ids)
    kept = [at for at, problem in enumerate(benchmark.problems) if problem.id not in gone]
    strata = tuple(benchmark.strata[at] for at in kept) if benchmark.strata else ()
    return dataclasses.replace(benchmark, problems=tuple(benchmark.problems[at] for at in kept), strata=strata)


def questions_of(benchmark: Benchmark, found: GuessFilter | None) -> dict[str, str]:
    """What the problems that are left out ask, by id."""
    gone = frozenset(found.ids if found else ())
    return {problem.id: problem.question for problem in benchmark.problems if problem.id in gone}
