"""The kind of each problem (subject, level, source): kept beside samples and counts, compared, as plain values.

strata.json    in a sample store's folder: {"<problem id>": "<stratum>"}, of the problems that have one
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from kurve.errors import DataError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.strata import Stratum, StratumAtK
from kurve.store.disk import disk_error, write_atomically
from kurve.types import Tally

STRATA = "strata.json"


def keep_strata(folder: Path, strata: Mapping[str, str]) -> None:
    """Add the strata of problems to those that the store's folder knows; nothing is written where nothing is new.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        known = read_strata(folder)
    except DataError:  # only a copy of what the benchmark says: written again
        known = {}
    named = {problem_id: stratum for problem_id, stratum in strata.items() if stratum}
    if named.items() <= known.items():
        return
    path = folder / STRATA
    try:
        write_atomically(path, json.dumps(known | named, indent=0).encode())
    except OSError as error:
        raise disk_error(error, path, "write") from error


def read_strata(folder: Path) -> dict[str, str]:
    """What is kept of the store's problems; empty where nothing is.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / STRATA
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise disk_error(error, path, "read") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); remove it and evaluate again, which writes it anew") from error
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise DataError(f"{path} is damaged: it holds no strata by problem id; remove it and evaluate again")
    return found


def with_strata(tally: Tally, strata: Mapping[str, str]) -> Tally:
    """The counts with the stratum of each problem, empty where it is unknown; as they are if none is known."""
    found = tuple(strata.get(problem_id, "") for problem_id in tally.problem_ids)
    return dataclasses.replace(tally, strata=found) if any(found) else tally


def agreed_strata(tallies: Sequence[Tally], names: Sequence[str]) -> dict[str, str]:
    """The stratum of each problem that at least one of the counts knows.

    Raises:
        DataError: two of them say different things of a problem, with its id.
    """
    known: dict[str, tuple[str, str]] = {}
    for tally, name in zip(tallies, names, strict=True):
        for problem_id, stratum in zip(tally.problem_ids, tally.strata, strict=False):
            said, by = known.setdefault(problem_id, (stratum, name)) if stratum else (stratum, name)
            if said != stratum:
                raise DataError(
                    f"problem {problem_id!r} is of the stratum {said!r} in {by} and of {stratum!r} in {name}; the "
                    "counts are of different benchmarks, or one of them names strata by other words: leave one's out"
                )
    return {problem_id: stratum for problem_id, (stratum, _) in known.items()}


def strata_json(strata: Sequence[Stratum]) -> list[dict[str, object]]:
    """As plain values, for `comparison.json`; null is what too few problems cannot tell."""
    return [
        {
            "stratum": one.name,
            "num_problems": one.num_problems,
            "pass_at_1": _at_json(one.at_1),
            "pass_at_k": _at_json(one.headline),
            "delta_se": {"k": one.headline.k} | _estimate(one.delta_se, one.delta_se_interval),
            "verdict": one.words,
        }
        for one in strata
    ]


def _at_json(at: StratumAtK) -> dict[str, object]:
    return {
        "k": at.k,
        "base": at.base,
        "tuned": at.tuned,
        "delta": _estimate(at.change, at.interval),
        "p": at.p_value,
        "p_holm": at.adjusted,
        "verdict": at.verdict.name,
    }


def _estimate(value: float, interval: Estimate | None) -> dict[str, object]:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return {"value": value, "lower": low, "upper": high}
