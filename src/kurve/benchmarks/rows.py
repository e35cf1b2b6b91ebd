"""Turn the rows of a dataset, from the hub or a local file, into a benchmark of math problems."""

import difflib
import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kurve.benchmarks import cells, files, hub
from kurve.benchmarks.answers import NORMALIZERS, Normalizer
from kurve.benchmarks.cells import Columns
from kurve.benchmarks.files import Row
from kurve.benchmarks.selfcheck import string_only
from kurve.errors import ConfigError, DataError
from kurve.types import Problem

ROLES = (*cells.REQUIRED, "id", *cells.OPTIONAL)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named set of problems with its sampling budget."""

    name: str
    problems: tuple[Problem, ...]
    revision: str  # hub commit, or digest of the local file's content
    source: str  # hub id, URL or path
    num_samples: int  # samples to draw for each problem, unless asked otherwise
    strata: tuple[str, ...] = ()  # kind of each problem (subject, level), or empty
    answer_space: int | None = None  # possible answers of a problem, where they are a fixed set

    @property
    def strata_by_id(self) -> dict[str, str]:
        """The kind of each problem by its id; empty for a benchmark without strata."""
        return {problem.id: stratum for problem, stratum in zip(self.problems, self.strata, strict=False)}

    @property
    def string_only(self) -> tuple[str, ...]:
        """Ids of the problems whose reference answer math-verify reads only as a string."""
        return string_only(self.problems)

    def only(self, ids: Collection[str]) -> "Benchmark":
        """The same benchmark without all other problems."""
        kept = [place for place, problem in enumerate(self.problems) if problem.id in ids]
        strata = tuple(self.strata[place] for place in kept) if self.strata else ()
        return replace(self, problems=tuple(self.problems[place] for place in kept), strata=strata)


def load(
    *,
    name: str,
    columns: Mapping[str, str | Sequence[str] | None],
    gold: str | Normalizer = "latex",
    dataset: str = "",
    subset: str | None = None,
    split: str = "test",
    revision: str | None = None,
    data_files: str | None = None,
    path: str | Path | None = None,
    limit: int | None = None,
    num_samples: int = 128,
    fold: Sequence[float] | None = None,
    duplicates: str = "refuse",
    answer_space: int | None = None,
) -> Benchmark:
    """Load a benchmark, refusing a dataset of which any row is malformed.

    Args:
        name: what the benchmark is called in reports.
        columns: role (see `ROLES`) -> its column, or several of which the first that a row has is taken. Without `id`
            a problem is named by the hash of its question, the same in every copy of the dataset.
        gold: how reference answers are normalised: a key of `NORMALIZERS` or a function from `Gold` to `Answer`.
        dataset, subset, split, revision: where it is on the hub; with `data_files`, a URL, `dataset` names its format.
        path: local file, read instead of the hub.
        limit: keep only this many problems, the first ones; ids do not depend on it.
        num_samples: the benchmark's budget, samples a problem.
        fold: [low, high): keep the problems whose id hashes into this part of [0, 1).
        duplicates: `refuse` a repeated problem, or keep the `first`.
        answer_space: possible answers of every problem: 1,000 for AIME, 4 for a choice of four; None if they are open.

    Raises:
        ConfigError: a setting is wrong, the file does not exist or the `datasets` package is missing.
        DataError: the data cannot be read or a row is malformed; the message names the file and line.
    """
    mapping, normalize, part = _check_columns(columns), _normalizer(gold), _check_fold(fold)
    _check_settings(limit, num_samples, duplicates)
    _check_answer_space(answer_space)
    if path is not None:
        source, (rows, revision) = str(path), files.read(Path(path))
    elif dataset:
        source = data_files or dataset
        rows = hub.read(dataset, subset=subset, split=split, revision=revision, data_files=data_files)
    else:
        raise ConfigError(f"benchmark {name} has neither a dataset nor a path; set benchmark.path=<file>")
    pairs = _problems(rows, mapping, normalize, keep_first=duplicates == "first")
    problems, strata = zip(*_within(part, pairs, source)[:limit], strict=True)
    kinds = strata if "stratum" in mapping else ()
    return Benchmark(name, problems, revision or "", source, num_samples, kinds, answer_space)


def _within(part: tuple[float, float], pairs: Sequence[tuple[Problem, str]], source: str) -> list[tuple[Problem, str]]:
    """The problems whose ids hash into this part of [0, 1); at least one."""
    low, high = part
    kept = [(problem, stratum) for problem, stratum in pairs if low <= _position(problem.id) < high]
    if not kept:
        raise DataError(f"no problem of {source} falls into benchmark.fold=[{low}, {high}]")
    return kept


def _problems(
    rows: Sequence[Row], mapping: Columns, normalize: Normalizer, *, keep_first: bool
) -> list[tuple[Problem, str]]:
    """Problem and stratum of each row."""
    _check_present(rows, mapping)
    places: dict[str, str] = {}
    pairs = []
    for row in rows:
        try:
            problem, stratum = cells.problem(row.values, mapping, normalize)
        except DataError as error:
            raise DataError(f"{row.place}: {error}") from error
        if first := places.get(problem.id):
            if keep_first:
                _log.warning("%s repeats problem %s of %s and is left out", row.place, problem.id, first)
                continue
            raise DataError(
                f"{row.place}: problem {problem.id!r} was already at {first}; "
                "remove one, or keep the first with benchmark.duplicates=first"
            )
        places[problem.id] = row.place
        pairs.append((problem, stratum))
    return pairs


def _check_present(rows: Sequence[Row], mapping: Columns) -> None:
    """Refuse an optional column that no row has: it is a slip, not a gap in the data."""
    for role, names in mapping.items():
        if role in cells.OPTIONAL and not any(name in row.values for row in rows for name in names):
            raise DataError(
                f"{rows[0].place}: {cells.no_column(rows[0].values, role, names)}, or null if there is none"
            )


def _position(problem_id: str) -> float:
    """Where the id hashes to in [0, 1); it depends on nothing else, so a problem never changes sides."""
    return int.from_bytes(hashlib.sha256(f"fold:{problem_id}".encode()).digest()[:6], "big") / 2**48


def _check_columns(columns: Mapping[str, str | Sequence[str] | None]) -> Columns:
    for role in columns:
        if role not in ROLES:
            near = difflib.get_close_matches(role, ROLES, n=1)
            hint = f"did you mean benchmark.columns.{near[0]}?" if near else f"roles are {', '.join(ROLES)}"
            raise ConfigError(f"benchmark.columns.{role} is not a role of a column; {hint}")
    mapping: dict[str, tuple[str, ...]] = {}
    for role, names in columns.items():
        if names:
            mapping[role] = (names,) if isinstance(names, str) else tuple(names)
            if not all(isinstance(name, str) for name in mapping[role]):
                raise ConfigError(f"benchmark.columns.{role} is {names!r}; expected a column or a list of columns")
    for role in cells.REQUIRED:
        if role not in mapping:
            raise ConfigError(f"benchmark.columns.{role} is not set; name the column that holds the {role}")
    return mapping


def _normalizer(gold: str | Normalizer) -> Normalizer:
    if not isinstance(gold, str):
        return gold
    if gold not in NORMALIZERS:
        raise ConfigError(f"benchmark.gold is {gold!r}; expected one of {', '.join(NORMALIZERS)}")
    return NORMALIZERS[gold]


def _check_settings(limit: int | None, num_samples: int, duplicates: str) -> None:
    for key, count in (("limit", 1 if limit is None else limit), ("num_samples", num_samples)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigError(f"benchmark.{key} is {count!r}; expected a whole number, 1 or more")
    if duplicates not in ("refuse", "first"):
        raise ConfigError(f"benchmark.duplicates is {duplicates!r}; expected refuse or first")


def _check_answer_space(answer_space: object) -> None:
    if answer_space is None:
        return
    if isinstance(answer_space, bool) or not isinstance(answer_space, int) or answer_space < 2:
        raise ConfigError(
            f"benchmark.answer_space is {answer_space!r}; expected the number of possible answers of a problem, 2 or "
            "more, or null where they are open"
        )


def _check_fold(fold: Sequence[float] | None) -> tuple[float, float]:
    match [0.0, 1.0] if fold is None else list(fold):
        case [int() | float() as low, int() | float() as high] if 0 <= low < high <= 1:
            return float(low), float(high)
    raise ConfigError(f"benchmark.fold is {fold!r}; expected [low, high] with 0 <= low < high <= 1")
