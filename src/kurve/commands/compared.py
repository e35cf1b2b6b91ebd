"""Models compared with one base: numbers, files and points that `kurve compare` and `kurve study` publish."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from kurve.commands.sampling_plan import whole
from kurve.comparison import (
    Comparison,
    as_json,
    compare,
    crossing_is_established,
    in_words,
    pass_at_k_curve,
    seed_effects,
)
from kurve.errors import ConfigError
from kurve.figures import comparison as figures
from kurve.figures.files import save, write_whole
from kurve.guess_filter import GuessFilter
from kurve.metrics.seeds import SeedEffect
from kurve.problem_changes import write_problem_changes
from kurve.tracking import TimedPoint, Tracker, now_ms
from kurve.types import Curve, Tally


@dataclass(frozen=True, slots=True)
class Settings:
    """How models are compared."""

    confidence: float  # of intervals and bands, a fraction
    draws: int
    seed: int  # of the draws


@dataclass(frozen=True, slots=True)
class Counted:
    """One model's counts and what it is called."""

    name: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Compared:
    """Models on one benchmark that share their base."""

    benchmark: str
    name: str  # of its files
    base_curve: Curve
    comparisons: tuple[Comparison, ...]  # of every other model with the base, in order
    curves: tuple[Curve, ...]  # of the other models
    seed: int  # of the draws
    seeds: tuple[tuple[int, SeedEffect], ...] = ()  # by k, where the models are seeds of one configuration
    guesses: GuessFilter | None = None  # which problems were left out

    def write(self, folder: Path) -> list[Path]:
        """Write `<name>.json` with all numbers, the figure beside it, and the problems' own changes.

        Each whole or not at all. The latter are `problems.*` in a folder of the same name as the numbers, else
        `<name>-problems.*`, so that several comparisons fit into one folder.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        numbers = folder / f"{self.name}.json"
        write_whole(numbers, self.json())
        models = [figures.Compared(self.comparisons[0].base, self.base_curve, None)]
        models += [
            figures.Compared(one.tuned, curve, one.difference)
            for one, curve in zip(self.comparisons, self.curves, strict=True)
        ]
        figure = figures.comparison_figure(models, title=f"pass@k on {self.benchmark}")
        stem = "problems" if folder.name == self.name else f"{self.name}-problems"
        return [numbers, *save(figure, folder, self.name), *write_problem_changes(self.comparisons, folder, stem)]

    def json(self) -> bytes:
        """The numbers: `benchmark`, `pairs` with one entry for each model compared with the base, and `seeds`."""
        document: dict[str, object] = {
            "benchmark": self.benchmark,
            "pairs": [as_json(one, seed=self.seed) for one in self.comparisons],
        }
        if self.guesses is not None:
            document["guess_filter"] = self.guesses.json()
        if self.seeds:
            document["seeds"] = [_seeds_json(k, effect) for k, effect in self.seeds]
        return json.dumps(document, indent=1, allow_nan=False).encode()

    def points(self) -> list[TimedPoint]:
        """The headline numbers of each compared model, by its name."""
        now = now_ms()
        return [
            TimedPoint(f"{self.name}/{one.tuned}/{key}", value, 0, now)
            for one in self.comparisons
            for key, value in headline_numbers(one).items()
        ]


def comparison_settings(cfg: DictConfig) -> Settings:
    """The `compare` of the config.

    Raises:
        ConfigError: a number is out of range.
    """
    seed = whole(cfg.compare.seed, "compare.seed", least=0)
    draws = whole(cfg.compare.draws, "compare.draws", least=100)
    confidence = cfg.compare.confidence
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        raise ConfigError(f"compare.confidence is {confidence!r}; expected a fraction between 0 and 1, as 0.95")
    return Settings(confidence, draws, seed)


def compare_all(
    base: Counted,
    tuned: Sequence[Counted],
    *,
    benchmark: str,
    name: str,
    settings: Settings,
    as_seeds: bool = False,
) -> Compared:
    """Compare each model with the base, problem by problem; `as_seeds` also takes them as seeds of one configuration.

    Raises:
        DataError: two of them are not of the same problems.
    """

    def rng() -> np.random.Generator:
        return np.random.default_rng(settings.seed)

    comparisons = [
        compare(
            base.tally,
            other.tally,
            rng=rng(),
            names=(base.name, other.name),
            confidence=settings.confidence,
            draws=settings.draws,
        )
        for other in tuned
    ]
    base_curve, *curves = [pass_at_k_curve(one.tally, rng(), confidence=settings.confidence) for one in (base, *tuned)]
    effects: tuple[tuple[int, SeedEffect], ...] = ()
    if as_seeds:
        names = [one.name for one in (base, *tuned)]
        tallies = [one.tally for one in tuned]
        effects = seed_effects(base.tally, tallies, names=names, confidence=settings.confidence)
    return Compared(benchmark, name, base_curve, tuple(comparisons), tuple(curves), settings.seed, effects)


def headline_numbers(one: Comparison) -> dict[str, float]:
    """Numbers by name, fractions; the crossover is absent where it is not established."""
    k = one.headline.k
    found = {
        "delta_pass_at_1": one.at_1.change,
        f"delta_pass_at_{k}": one.headline.change,
        "delta_se": one.delta_se,
    }
    numbers: dict[str, float] = {}
    for key, estimate in found.items():
        numbers |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
    return numbers | ({"crossover_k": one.crossover.point} if crossing_is_established(one) else {})


def tell_the_compared(tracker: Tracker, run_id: str, benchmark: str, one: Comparison, *, base_run_id: str = "") -> None:
    """Log to the tuned model's own run what changed against its base, in numbers and in words.

    Args:
        tracker: a fresh one, which is attached to the run.
        run_id: of the tuned model's evaluation.
        benchmark: of both.
        one: what changed.
        base_run_id: of the base's evaluation, noted with the run; empty leaves what the run says.

    Raises:
        TrackingError: the run was deleted, or the tracker cannot be reached.
    """
    tracker.attach(run_id)
    now = now_ms()
    tracker.log_points(
        [TimedPoint(f"{benchmark}/{key}", value, 0, now) for key, value in headline_numbers(one).items()]
    )
    base = {"kurve.base_run_id": base_run_id} if base_run_id else {}
    tracker.log_tags({**base, f"kurve.verdict.{benchmark}": in_words(one)})


def _seeds_json(k: int, effect: SeedEffect) -> dict[str, object]:
    change = effect.change
    return {
        "k": k,
        "num_seeds": effect.num_seeds,
        "delta": {"value": change.value, "lower": change.low, "upper": change.high},
        "seed_spread": effect.seed_spread,
    }
