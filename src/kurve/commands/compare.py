"""`kurve compare`: what changed between a base and tuned models, from counts, stored samples or runs."""

import math
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.text import Text

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.compared import Compared, Counted, compare_all, comparison_settings
from kurve.commands.references import Found, find
from kurve.commands.strata_table import strata_table, strata_words, stratified
from kurve.commands.verdicts import show_verdicts
from kurve.comparison import in_words, shared_problems
from kurve.errors import ConfigError, DataError
from kurve.figures.files import write_whole
from kurve.metrics.coverage_sets import CoverageSets
from kurve.metrics.power import Settling
from kurve.metrics.seeds import LEAST_SEEDS, SeedEffect
from kurve.tracking import RunInfo, Tracker

FOLDER = "comparison"
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
    benchmark = next((one.benchmark for one in found if one.benchmark), "these problems")
    tracker.check()
    compared = compare_all(
        models[0], models[1:], benchmark=benchmark, name=FOLDER, settings=settings, as_seeds=_as_seeds(cfg, models)
    )
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    files = _write(compared, run_dir / FOLDER, output)
    _publish(cfg, found, compared, files, tracker)
    _show(compared, left_out, tracker, files[0] if output is None else output, files[1])


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
    given = cfg.tuned if isinstance(cfg.tuned, ListConfig) else str(cfg.tuned).split(",")
    references = [("base", str(cfg.base)), *(("tuned", str(one).strip()) for one in given)]
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


def _publish(
    cfg: DictConfig, found: Sequence[Found], compared: Compared, files: Sequence[Path], tracker: Tracker
) -> None:
    if not tracker.start(_run_info(cfg, found, compared)):
        return
    try:
        tracker.log_files(files, FOLDER)
        tracker.log_points(compared.points())
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish("FINISHED")


def _run_info(cfg: DictConfig, found: Sequence[Found], compared: Compared) -> RunInfo:
    config = provenance.recorded(cfg)
    names = [compared.comparisons[0].base, *(one.tuned for one in compared.comparisons)]
    tags = {"kurve.kind": "comparison", "kurve.base": names[0], "kurve.tuned": ", ".join(names[1:])}
    runs = [one.run_id for one in found]
    if runs[0]:
        tags["kurve.base_run_id"] = runs[0]
    if any(runs[1:]):
        tags["kurve.tuned_run_ids"] = ", ".join(filter(None, runs[1:]))
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


def _show(compared: Compared, left_out: Sequence[str], tracker: Tracker, numbers: Path, figure: Path) -> None:
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
        console.print(Text(_coverage_words(one.base, one.tuned, one.coverage)))
    for one in compared.comparisons:
        for open_one, change in zip(one.settling, (one.at_1.change, one.headline.change), strict=False):
            if change.low <= 0 <= change.high:
                console.print(Text(_settling_words(one.tuned, open_one, one.difference.num_problems)))
    if left_out:
        console.print(Text(f"left out, not in every model: {_listed(left_out)}", style="yellow"))
    console.print(Text(f"\nnumbers  {numbers}\nfigure   {figure}"), soft_wrap=True)
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


def _coverage_words(base: str, tuned: str, sets: CoverageSets) -> str:
    null = sets.base_null
    chance = f"; two halves of {base}'s own samples differ by {null.only_one:.1f} each way" if null else ""
    return (
        f"solved by {base} and {tuned}: {len(sets.both)}, only by {base}: {len(sets.base_only)}, only by {tuned}: "
        f"{len(sets.tuned_only)}, by neither: {len(sets.neither)} (McNemar p = {sets.p_value:.3g}{chance})"
    )


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
        return f"{needed} (k is above n/2, so what more samples would do is not known)."
    return f"{needed}, or {one.samples:,.0f} samples of each of these."


def _listed(ids: Sequence[str]) -> str:
    rest = len(ids) - _NAMED
    return ", ".join(ids[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
