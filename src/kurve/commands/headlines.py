"""The lines of a report beyond pass@k that the end of a command shows."""

import re
from collections.abc import Iterator, Mapping

_METHODS = {"beta_binomial": "beta-binomial", "zero_inflated": "zero-inflated", "power_law": "power law"}
_EXTRAPOLATED = re.compile(rf"extrapolated_pass_at_(\d+)_({'|'.join(_METHODS)})")


def headlines(scalars: Mapping[str, float]) -> Iterator[str]:
    """One line for each kind of measurement that the report holds, with intervals where they were estimated."""
    chosen = [
        *(f"maj@{k} {_percent(scalars, key)}" for k, key in _numbered(scalars, r"maj_at_(\d+)")),
        *(
            f"likeliest of {k} {_percent(scalars, key)}"
            for k, key in _numbered(scalars, r"best_of_(\d+)_by_mean_logprob")
        ),
    ]
    if chosen:
        yield "one answer of k: " + ", ".join(chosen)
    if "answer_entropy" in scalars:
        entropy = _number(scalars, "answer_entropy")
        yield (
            f"answers a problem: {scalars['distinct_answers']:.1f} different, as varied as "
            f"{scalars['effective_answers']:.1f} equally likely ones (entropy {entropy} nats)"
        )
    chance = [
        f"pass@{k} {scalars[key]:.1%}" + _adjusted(scalars, k) for k, key in _numbered(scalars, r"chance_pass_at_(\d+)")
    ]
    if chance:
        yield f"guessing among {scalars['num_possible_answers']:,.0f} answers: " + ", ".join(chance)
    if "support_threshold" in scalars:
        yield _support(int(scalars["num_samples"]), scalars["support_threshold"])
    yield from _extrapolated(scalars)


def _support(n: int, threshold: float) -> str:
    return f"unsolved at n = {n:,} means p < {100 * threshold:.2g} % with 95 % confidence"


def _extrapolated(scalars: Mapping[str, float]) -> Iterator[str]:
    found: dict[int, list[str]] = {}
    for key in scalars:
        if match := _EXTRAPOLATED.fullmatch(key):
            found.setdefault(int(match[1]), []).append(f"{_METHODS[match[2]]} {_percent(scalars, key)}")
    for k, methods in sorted(found.items()):
        yield f"extrapolated pass@{k:,}: " + ", ".join(methods)


def _adjusted(scalars: Mapping[str, float], k: int) -> str:
    key = f"chance_adjusted_pass_at_{k}"
    return f" (adjusted for it {scalars[key]:.1%})" if key in scalars else ""


def _numbered(scalars: Mapping[str, float], pattern: str) -> list[tuple[int, str]]:
    return sorted((int(match[1]), key) for key in scalars if (match := re.fullmatch(pattern, key)))


def _percent(scalars: Mapping[str, float], key: str) -> str:
    return f"{scalars[key]:.1%} [{scalars[f'{key}_low']:.1%}, {scalars[f'{key}_high']:.1%}]"


def _number(scalars: Mapping[str, float], key: str) -> str:
    """With its interval; a single problem has none."""
    ends = f" [{scalars[f'{key}_low']:.2f}, {scalars[f'{key}_high']:.2f}]" if f"{key}_low" in scalars else ""
    return f"{scalars[key]:.2f}{ends}"
