"""`sampling.adaptive`: when a problem has enough samples, and the record of it beside the samples."""

import dataclasses
import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from kurve.commands.build import plain
from kurve.commands.sampling_plan import MAX_SAMPLES, whole
from kurve.errors import ConfigError, DataError, StoreError
from kurve.figures.files import write_whole
from kurve.metrics.adaptive import Prefix, counted_prefix, default_successes, unbiased_tally
from kurve.metrics.efficiency import HEADLINE_K
from kurve.store import VerdictStore
from kurve.types import StoppingRule, Tally

DESIGN = "adaptive.json"  # in the store's folder, once it was drawn from adaptively
TARGETS = ("delta_se", "pass_at_k")
_LEAST = 24  # samples of every problem: enough for pass@1, whose noise is small beside the spread between problems
_KEYS = ("target", "k", "successes", "least")
_FORMAT = 1


def stopping_rule(cfg: DictConfig) -> StoppingRule | None:
    """The rule of `sampling.adaptive` for `kurve evaluate`; None if the number of samples is fixed.

    Raises:
        ConfigError: a setting is wrong or unknown, num_samples does not reach k, or delta SE without a role.
    """
    node = cfg.sampling.get("adaptive")
    if node is None:
        return None
    settings = _settings(plain(node) if isinstance(node, DictConfig) else node)
    most = whole(cfg.num_samples, "num_samples", least=2, most=MAX_SAMPLES)
    k = whole(settings.get("k", min(HEADLINE_K, most)), "sampling.adaptive.k", least=2)
    if k > most:
        raise ConfigError(
            f"sampling.adaptive.k is {k} and num_samples is {most}: pass@{k} needs {k} samples of hard problems; "
            f"set num_samples={k} or more (most problems will need far fewer)"
        )
    least = whole(settings.get("least", min(_LEAST, most)), "sampling.adaptive.least", least=2, most=most)
    successes = settings.get("successes", default_successes(k, most))
    successes = whole(successes, "sampling.adaptive.successes", least=2, most=most)
    if settings["target"] == "delta_se" and _only_pass_at_1(cfg):
        return StoppingRule(least, successes, least)
    return StoppingRule(least, successes, most)


def record_design(folder: Path, rule: StoppingRule | None) -> None:
    """Say beside the samples that their number depends on their outcomes; `None` where it was fixed this time.

    A store that was never drawn from adaptively gets no such file.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / DESIGN
    if rule is None and not path.exists():
        return
    document = {"format": _FORMAT, "rule": None if rule is None else dataclasses.asdict(rule)}
    try:
        write_whole(path, json.dumps(document).encode() + b"\n")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; make room, then run the same command") from error


def is_adaptive(folder: Path) -> bool:
    """Whether the number of samples in this store may depend on their outcomes."""
    return (folder / DESIGN).exists()


def stored_rule(folder: Path) -> StoppingRule | None:
    """The rule that the store was last drawn by; None if that drew a fixed number.

    Raises:
        DataError: the record is damaged.
    """
    path = folder / DESIGN
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']}, this version of kurve reads {_FORMAT}")
        rule = document["rule"]
        return None if rule is None else StoppingRule(**{key: int(value) for key, value in rule.items()})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({error}); run the same `kurve evaluate` command, which writes it"
        ) from error


def shortened_rule(rule: StoppingRule, num_samples: int) -> StoppingRule:
    """The same rule with fewer samples at most: valid, since a rule only looks at the samples up to where it stops."""
    most = min(rule.most, num_samples)
    return StoppingRule(min(rule.least, most), rule.successes, most)


def prefixes(verdicts: VerdictStore, problem_ids: Iterable[str], rule: StoppingRule) -> dict[str, Prefix]:
    """The samples of each problem that count, from what is judged."""
    return {one: counted_prefix(verdicts.results(one, rule.most), rule) for one in problem_ids}


def counted_lengths(verdicts: VerdictStore, problem_ids: Iterable[str], rule: StoppingRule) -> dict[str, int]:
    """How many samples of each problem count.

    Raises:
        DataError: some problem is still to be drawn, by these verdicts.
    """
    found = prefixes(verdicts, problem_ids, rule)
    open_ones = [one for one, prefix in found.items() if not prefix.complete]
    if open_ones:
        raise DataError(
            f"{len(open_ones)} of {len(found)} problems ({', '.join(open_ones[:3])}) in {verdicts.folder} are not "
            f"finished by these verdicts: adaptive sampling goes on to {rule.successes} correct samples, at least "
            f"{rule.least} and at most {rule.most}. The same `kurve evaluate` command draws what is missing; "
            "another verifier may need more samples than the one it was drawn with"
        )
    return {one: prefix.length for one, prefix in found.items()}


def adaptive_tally(verdicts: VerdictStore, problem_ids: Iterable[str], rule: StoppingRule) -> Tally:
    """The unbiased counts of a store that was drawn by the rule; no text is read.

    Raises:
        DataError: some problem is still to be drawn.
    """
    lengths = counted_lengths(verdicts, problem_ids, rule)
    results = [verdicts.results(one, length) for one, length in lengths.items()]
    n, c, errors = (np.array([int((one == value).sum()) for one in results]) for value in (0, 1, -1))
    return unbiased_tally(Tally(tuple(lengths), n + c, c, errors), rule)


def _settings(given: Any) -> dict[str, Any]:
    """The mapping with a known target; a target alone stands for its defaults."""
    settings = {"target": given} if isinstance(given, str) else given
    if not isinstance(settings, dict) or settings.get("target") not in TARGETS:
        raise ConfigError(
            f"sampling.adaptive is {given!r}; expected {' or '.join(TARGETS)}, or "
            "{target: pass_at_k, k: 256, successes: 3, least: 24} with any of k, successes and least, or null"
        )
    unknown = [str(key) for key in settings if key not in _KEYS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], _KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(_KEYS)}"
        raise ConfigError(f"sampling.adaptive has no setting {unknown[0]}; {hint}")
    return {key: value for key, value in settings.items() if value is not None}


def _only_pass_at_1(cfg: DictConfig) -> bool:
    """Whether delta SE, base pass@k - tuned pass@1, takes only pass@1 of this model."""
    role = cfg.tags.get("role") if cfg.get("tags") is not None else None
    if role not in ("base", "tuned", "distilled"):
        raise ConfigError(
            f"sampling.adaptive=delta_se takes pass@k of the base and pass@1 of a tuned model, and tags.role is "
            f"{'not set' if role is None else repr(role)}; set tags.role=base, tuned or distilled, or take "
            "sampling.adaptive=pass_at_k"
        )
    return bool(role != "base")
