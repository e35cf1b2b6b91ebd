"""What `kurve import` makes of its settings: the files, their facts, and the address of the store."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from kurve.benchmarks.imported import of_items
from kurve.benchmarks.rows import Benchmark
from kurve.commands.build import plain
from kurve.commands.sampling_plan import MAX_TEMPERATURE, whole
from kurve.commands.stages import check_references
from kurve.errors import ConfigError, DataError
from kurve.importers.detect import find_files, find_format
from kurve.importers.identify import FromFile, OfBenchmark
from kurve.importers.imported import Facts, Importer, Options
from kurve.importers.survey import NOT_IN_BENCHMARK, Source, Survey
from kurve.types import SamplingSpec

_SETTINGS = ("temperature", "top_p", "top_k", "min_p", "max_tokens")
_RANGES = {"temperature": (0.0, MAX_TEMPERATURE), "top_p": (0.0, 1.0), "min_p": (0.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Described:
    """Files, and what is known of all their samples."""

    source: Source
    facts: Facts  # model and benchmark are never empty

    @property
    def unknown(self) -> list[str]:
        """The sampling settings that neither the files nor the command line say."""
        return [name for name in _SETTINGS if getattr(self.facts, name) is None]

    def spec(self, benchmark: Benchmark | None) -> SamplingSpec:
        """The address of the store: the same files read in the same way have the same one, other files another."""
        facts = self.facts
        return SamplingSpec(
            model=facts.model,
            model_revision=facts.revision,
            lora="",
            benchmark=facts.benchmark,
            benchmark_revision=benchmark.revision if benchmark else "",
            prompt="imported",
            prompt_digest="",
            engine=self.source.importer.NAME,
            stop=facts.stop,
            seed=f"import-{self.source.digest()}",
            **{name: getattr(facts, name) for name in _SETTINGS},
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What the files hold, checked: everything that is needed to store it."""

    described: Described
    survey: Survey
    problems: FromFile | OfBenchmark
    asked: Benchmark | None  # the benchmark that was named
    benchmark: Benchmark  # the problems that have samples


def describe(cfg: DictConfig, benchmark: Benchmark | None) -> Described:
    """The files that `path=` names, what they say of themselves, and what the command line adds.

    Raises:
        ConfigError: a setting is wrong, or the model has no name.
        DataError: a file is of no known format, or files contradict one another.
    """
    given = _paths(cfg.path)
    files = find_files(given)
    named = all(Path(one).expanduser().is_file() for one in given)
    importer, files = find_format(_text(cfg.format, "format"), files, named=named)
    options = Options(None if cfg.grader is None else _text(cfg.grader, "grader"), _columns(cfg.columns))
    facts = _common(importer, files, _given(cfg, benchmark))
    if not facts.model:
        raise ConfigError(f"{files[0]} does not say which model the samples are of; name it: model.name=...")
    if not facts.benchmark:
        facts = dataclasses.replace(facts, benchmark=_stem(files[0]))
    return Described(Source(importer, tuple(files), options), facts)


def checked(
    cfg: DictConfig, described: Described, survey: Survey, problems: FromFile | OfBenchmark, *, asked: Benchmark | None
) -> Found:
    """Refuse what cannot be measured, before anything is stored.

    Raises:
        DataError: samples of other problems than the benchmark's, or samples with neither verdict nor reference.
    """
    if (lost := survey.left_out[NOT_IN_BENCHMARK]) and cfg.unmatched == "refuse":
        raise DataError(
            f"{survey.example[NOT_IN_BENCHMARK]}: {described.facts.benchmark} has no such problem, and so for {lost:,} "
            "samples; name the benchmark that was sampled, leave these out (unmatched=drop), or name no benchmark"
        )
    items = problems.items
    benchmark = (
        of_items(
            described.facts.benchmark,
            items.values(),
            source=str(described.source.files[0]),
            num_samples=survey.extent,
        )
        if asked is None
        else asked.only(items)
    )
    if survey.ungraded:
        try:
            check_references(benchmark.problems)
        except DataError as error:
            raise DataError(
                f"{survey.first_ungraded}: no verdict on this sample ({survey.ungraded:,} have none), and it cannot be "
                f"judged: {error}"
            ) from error
    return Found(described, survey, problems, asked, benchmark)


def _paths(value: object) -> list[str]:
    given = [str(one) for one in value] if isinstance(value, ListConfig) else str(value).split(",")
    if isinstance(value, str) and Path(value).expanduser().exists():
        given = [value]  # a comma may be part of its name
    given = [one.strip() for one in given if one.strip()]
    if not given:
        raise ConfigError("path is empty; name a file, a folder or a pattern: path=results/samples_gsm8k_*.jsonl")
    return given


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} is {value!r}; expected a name")
    return value


def _columns(node: DictConfig) -> dict[str, str | None]:
    """The columns that are named; None for a role that is left out."""
    columns = plain(node)
    for role, column in columns.items():
        if column is not None and column is not False and (not isinstance(column, str) or not column):
            raise ConfigError(f"columns.{role} is {column!r}; expected the name of a column, or false to leave it out")
    return {role: column or None for role, column in columns.items() if column is not None}


def _given(cfg: DictConfig, benchmark: Benchmark | None) -> dict[str, Any]:
    """What the command line says of all samples; it comes before what files say."""
    given: dict[str, Any] = {
        "model": cfg.model.name,
        "revision": cfg.model.revision,
        "benchmark": benchmark.name if benchmark else cfg.benchmark_name,
    }
    for key, value in given.items():
        if value is not None and (not isinstance(value, str) or not value):
            raise ConfigError(f"the name of the {key} is {value!r}; expected a text")
    for name, value in cfg.sampling.items():
        given[str(name)] = None if value is None else _setting(str(name), value)
    return {key: value for key, value in given.items() if value is not None}


def _setting(name: str, value: object) -> float | int:
    if name not in _RANGES:
        return whole(value, f"sampling.{name}", least=0 if name == "top_k" else 1)
    low, high = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"sampling.{name} is {value!r}; it must be a number from {low:g} to {high:g}")
    return float(value)


def _common(importer: Importer, files: Sequence[Path], given: Mapping[str, Any]) -> Facts:
    """What all files say; where the command line speaks they need not agree."""
    found: dict[str, Any] = {}
    said_by: dict[str, Path] = {}
    for path in files:
        facts = importer.facts(path)
        for name in (field.name for field in dataclasses.fields(facts)):
            value = getattr(facts, name)
            if name in given or value is None or value == "":
                continue
            if name in found and found[name] != value:
                key = {"model": "model.name", "revision": "model.revision", "benchmark": "benchmark_name"}.get(
                    name, f"sampling.{name}"
                )
                raise DataError(
                    f"{said_by[name].name} and {path.name} differ in {name}: {found[name]!r} and {value!r}; import "
                    f"them one at a time, or say what they have in common: {key}=..."
                )
            found[name], said_by[name] = value, path
    return Facts(**{**found, **given})


def _stem(path: Path) -> str:
    return path.name.partition(".")[0] or path.name
