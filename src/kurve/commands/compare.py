"""`kurve compare`: what changed between a base and tuned models, from counts, stored samples or runs."""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.text import Text

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.compared import Compared, Counted, compare_all, comparison_settings, tell_the_compared
from kurve.commands.guessing import guess_filter
from kurve.commands.publishing import publish_files
from kurve.commands.references import Found, find, listed
from kurve.commands.strata_table import strata_table, strata_words, stratified
from kurve.commands.verdicts import show_verdicts
from kurve.comparison import Comparison, in_words, paired, restricted, shared_problems, supports
from kurve.errors import ConfigError, DataError, TrackingError
from kurve.figures.files import write_whole
from kurve.guess_filter import GuessFilter
from kurve.metrics.power import Settling
from kurve.metrics.seeds import LEAST_SEEDS, SeedEffect
from kurve.tracking import RunInfo, Tracker

FOLDER = "comparison"
BASE_TAG = "kurve.base_run_id"
_NAMED = 12  # ids that are spelled out


def main(cfg: DictConfig) -> None:
    """Compare, print the verdicts, write the numbers and the figure, track them.

    Raises:
        KurveError: a reference names nothing, the models do not share their problems, or a place cannot be written.
    """
    settings = comparison_settings(cfg)
    tracker: Tracker = build(cfg.tracker, "tracker")
    output = _output(cfg)
    found = _found(cfg, tracker)
    models, left_out = _paired(cfg, found)
    guesses = _guesses(cfg, models, tracker)
    if guesses is not None:
        kept = set(models[0].tally.problem_ids).difference(guesses.ids)
        models = [Counted(one.name, restricted(one.tally, kept)) for one in models]
    benchmark = next((one.benchmark for one in found if one.benchmark), "these problems")
    tracker.check()
    compared = compare_all(
        models[0], models[1:], benchmark=benchmark, name=FOLDER, settings=settings, as_seeds=_as_seeds(cfg, models)
    )
    compared = dataclasses.replace(compared, guesses=guesses)
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    files = _write(compared, run_dir / FOLDER, output)
    untold: list[str] = []
    is_whole = not left_out and guesses is None
    publish_files(
        tracker,
        _run_info(cfg, found, compared),
        files,
        FOLDER,
        points=compared.points(),
        before_it_ends=partial(_tell, cfg, found, compared, untold) if is_whole else lambda: None,
    )
    for line in untold:
        Console(highlight=False).print(Text(line, style="yellow"), soft_wrap=True)
    _show(compared, left_out, tracker, [output or files[0], *files[1:]])


def _output(cfg: DictConfig) -> Path | None:
    if cfg.output is None:
        return None
    if not isinstance(cfg.output, str) or not cfg.output:
        raise ConfigError(f"output is {cfg.output!r}; expected the path of a file, as output=comparison.json")
    output = Path(cfg.output).expanduser()
    if output.is_dir() or not output.parent.is_dir():
        raise ConfigError(
            f"output={output} cannot be written: " + ("it is a folder" if output.is_dir() else "no such folder")
        )
    return output


def _found(cfg: DictConfig, tracker: Tracker) -> list[Found]:
    """The base, then every tuned model."""
    references = [("base", str(cfg.base)), *(("tuned", one) for one in listed(cfg.tuned))]
    return [find(cfg, key, reference, tracker) for key, reference in references]


def _names(cfg: DictConfig, found: Sequence[Found]) -> list[str]:
    """One name a model, all different."""
    names = [one.counted.name for one in found]
    if cfg.names is not None:
        if not isinstance(cfg.names, ListConfig) or len(cfg.names) != len(found):
            raise ConfigError(
                f"names is {cfg.names}; expected one name for each of the {len(found)} models, base first"
            )
        names = [str(name) for name in cfg.names]
        if len(set(names)) < len(names):
            raise ConfigError(f"names has {', '.join(names)}; expected different ones")
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names)]


def _paired(cfg: DictConfig, found: Sequence[Found]) -> tuple[list[Counted], list[str]]:
    """The models by their names, on the problems that all of them have if others are dropped, and what was dropped."""
    if cfg.unpaired not in ("refuse", "drop"):
        raise ConfigError(f"unpaired is {cfg.unpaired!r}; expected refuse or drop")
    models = [Counted(name, one.counted.tally) for name, one in zip(_names(cfg, found), found, strict=True)]
    if cfg.unpaired == "refuse":
        return models, []
    tallies, left_out = shared_problems([one.tally for one in models])
    if not tallies[0].problem_ids:
        raise DataError(f"no problem is in all of {', '.join(one.name for one in models)}; are the ids the same?")
    return [Counted(one.name, tally) for one, tally in zip(models, tallies, strict=True)], left_out


def _guesses(cfg: DictConfig, models: Sequence[Counted], tracker: Tracker) -> GuessFilter | None:
    """What the guess filter leaves out of every model, judged on the base's problems; unpaired ones come first."""
    if cfg.guess_filter is None:
        return None
    for one in models[1:]:
        paired(models[0].tally, one.tally, names=(models[0].name, one.name))
    ids = models[0].tally.problem_ids
    given, threshold = cfg.guess_filter, cfg.guess_threshold
    return guess_filter(cfg, "guess_filter", ids, tracker, reference=given, threshold=threshold)


def _as_seeds(cfg: DictConfig, models: Sequence[Counted]) -> bool:
    if not isinstance(cfg.seeds, bool):
        raise ConfigError(f"seeds is {cfg.seeds!r}; expected true or false")
    if cfg.seeds and len(models) - 1 < LEAST_SEEDS:
        raise ConfigError(
            f"seeds=true needs at least {LEAST_SEEDS} tuned models that differ in their seed, got {len(models) - 1}"
        )
    return bool(cfg.seeds)


def _write(compared: Compared, folder: Path, output: Path | None) -> list[Path]:
    """The numbers, then the figures."""
    try:
        files = compared.write(folder)
        if output is not None:
            write_whole(output, compared.json())
    except OSError as error:
        raise DataError(f"cannot write the comparison: {error}; make room or name another place") from error
    return files


def _run_info(cfg: DictConfig, found: Sequence[Found], compared: Compared) -> RunInfo:
    config = provenance.recorded(cfg)
    names = [compared.comparisons[0].base, *(one.tuned for one in compared.comparisons)]
    tags = {"kurve.kind": "comparison", "kurve.base": names[0], "kurve.tuned": ", ".join(names[1:])}
    runs = [one.run_id for one in found]
    if runs[0]:
        tags[BASE_TAG] = runs[0]
    if any(runs[1:]):
        tags["kurve.tuned_run_ids"] = ", ".join(filter(None, runs[1:]))
    if compared.guesses is not None:
        tags |= compared.guesses.tags()
    tags |= {f"kurve.verdict.{one.tuned}": in_words(one) for one in compared.comparisons}
    if commit := provenance.git_commit():
        tags["kurve.git_commit"] = commit
    return RunInfo(
        key=provenance.digest("comparison", [one.source for one in found], names, compared.json().decode()),
        name=f"{' and '.join(names[1:])} against {names[0]}"[:200],
        params=provenance.flat_params(config),
        tags=tags,
        config_yaml=provenance.as_yaml(config),
        versions=provenance.versions(),
    )


def _tell(cfg: DictConfig, found: Sequence[Found], compared: Compared, untold: list[str]) -> None:
    """Tell the tuned models' own runs, unless they were compared with another base before, and note who was not told.

    Numbers of several bases under one name would leave open whose they are. Who may only read a run can compare it.
    """
    base, *tuned = found
    for one, comparison in zip(tuned, compared.comparisons, strict=True):
        known = one.tags.get(BASE_TAG, "")
        if not base.run_id or one.run_id in ("", base.run_id) or known not in ("", base.run_id):
            continue
        benchmark = one.benchmark or compared.benchmark
        try:
            tell_the_compared(build(cfg.tracker, "tracker"), one.run_id, benchmark, comparison, base_run_id=base.run_id)
        except TrackingError as error:
            untold.append(f"not noted with {comparison.tuned}'s own run: {error}")


def _show(compared: Compared, left_out: Sequence[str], tracker: Tracker, files: Sequence[Path]) -> None:
    console = Console(highlight=False)
    console.print(Text(f"\n{compared.benchmark}", style="bold"))
    show_verdicts(compared.comparisons, console)
    console.print()
    if by_kind := stratified(compared.comparisons):
        for one in by_kind:
            console.print(strata_table(one))
            console.print()
        console.print(strata_words(by_kind[0]))
        console.print()
    for k, effect in compared.seeds:
        console.print(Text(_seeds_words(k, effect)))
    for one in compared.comparisons:
        console.print(Text(_coverage_words(one)))
    for one in compared.comparisons:
        for open_one, change in zip(one.settling, (one.at_1.change, one.headline.change), strict=False):
            if change.low <= 0 <= change.high:
                console.print(Text(_settling_words(one.tuned, open_one, one.difference.num_problems)))
    if compared.guesses is not None:
        console.print(Text(compared.guesses.words, style="yellow"))
    if left_out:
        console.print(Text(f"left out, not in every model: {_listed(left_out)}", style="yellow"))
    console.print(Text(f"\nnumbers  {files[0]}\nfigure   {files[1]}\nproblems {files[-1]}"), soft_wrap=True)
    if tracker.url:
        console.print(Text(f"run      {tracker.url}"), soft_wrap=True)
    if tracker.hint:
        console.print(Text(tracker.hint), soft_wrap=True)


def _seeds_words(k: int, effect: SeedEffect) -> str:
    change = effect.change
    return (
        f"{effect.num_seeds} seeds as one configuration, pass@{k}: {100 * change.value:+.1f} points "
        f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}] for another seed and problems like these; seeds "
        f"differ by {100 * effect.seed_spread:.1f}"
    )


def _coverage_words(one: Comparison) -> str:
    base, tuned, sets = one.base, one.tuned, one.coverage
    null = sets.base_null
    chance = f"; two halves of {base}'s own samples differ by {null.only_one:.1f} each way" if null else ""
    return (
        f"solved by {base} and {tuned}: {len(sets.both)}, only by {base}: {len(sets.base_only)}, only by {tuned}: "
        f"{len(sets.tuned_only)}, by neither: {len(sets.neither)} (McNemar p = {sets.p_value:.3g}{chance}). "
        f"{_support_words(one)}"
    )


def _support_words(one: Comparison) -> str:
    """What "not solved" can mean with so many samples."""
    sure = f"with {100 * one.difference.confidence:g} % confidence"
    said = [
        f"unsolved at n = {int(tally.num_samples.min()):,} means p < {100 * support:.2g} %"
        for tally, support in zip(one.counts, supports(one), strict=True)
    ]
    if said[0] == said[1]:
        return f"{said[0].capitalize()} {sure}."
    return f"{one.base}: {said[0]}, {one.tuned}: {said[1]}, {sure}."


def _settling_words(name: str, one: Settling, num_problems: int) -> str:
    """What an open verdict would take."""
    start = f"{name}, pass@{one.k}: not established."
    if math.isnan(one.detectable):
        return f"{start} All problems agree, so nothing says how far others would differ: take more problems."
    if math.isinf(one.detectable):
        return f"{start} One problem says nothing of others: take more problems."
    share = f"{100 * one.power:.0f} %"
    found = (
        f"{start} {num_problems} problems find a true change of {100 * one.detectable:.1f} points in {share} of cases"
    )
    if math.isinf(one.problems):
        return f"{found}; the change seen is 0."
    needed = f"{found}; one of {100 * one.difference:+.1f} as seen needs {one.problems:,.0f} problems"
    if math.isinf(one.samples):
        return f"{needed}, and more samples of these cannot settle it."
    if math.isnan(one.samples):
        return f"{needed} (what more samples would do is not known: k is above n/2, or n adaptive)."
    return f"{needed}, or {one.samples:,.0f} samples of each of these."


def _listed(ids: Sequence[str]) -> str:
    rest = len(ids) - _NAMED
    return ", ".join(ids[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
