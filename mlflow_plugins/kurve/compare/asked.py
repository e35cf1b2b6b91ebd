"""What a request asks for, checked, for the endpoints and for who may see them.

A request names runs in one argument only, `runs`, so that a check of `runs` is a check of all that it reveals.
"""

import re
from collections.abc import Mapping

from mlflow.exceptions import MlflowException

MOST_RUNS = 20  # curves that one plot can hold
MOST_TEXT = 500  # characters of a search

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def asked_runs(arguments: Mapping[str, str], least: int = 1, most: int = MOST_RUNS) -> list[str]:
    """The ids in `runs`, commas between them, in their order.

    Raises:
        MlflowException: too few, too many, one twice, or what cannot be an id; INVALID_PARAMETER_VALUE.
    """
    given = [one.strip() for one in arguments.get("runs", "").split(",") if one.strip()]
    if not least <= len(given) <= most:
        words = f"{least}" if least == most else f"{least} to {most}"
        raise refusal(f"runs names {len(given)} runs; expected {words} run ids with commas between them")
    if len(set(given)) < len(given):
        raise refusal("runs names a run twice; name each once")
    if not all(_RUN_ID.fullmatch(one) for one in given):
        raise refusal("runs holds something that is no run id")
    return given


def asked_number(arguments: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 0 to `most`.

    Raises:
        MlflowException: it is none.
    """
    given = arguments.get(name, "")
    if not given:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", given) or int(given) > most:
        raise refusal(f"{name} is {given[:40]!r}; expected a whole number from 0 to {most}")
    return int(given)


def asked_choice(arguments: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """One of the choices; the first where none is given.

    Raises:
        MlflowException: another word.
    """
    given = arguments.get(name, "") or choices[0]
    if given not in choices:
        raise refusal(f"{name} is {given[:40]!r}; expected one of {', '.join(one or 'nothing' for one in choices)}")
    return given


def asked_text(arguments: Mapping[str, str], name: str) -> str:
    """Any text of at most 500 characters.

    Raises:
        MlflowException: it is longer.
    """
    given = arguments.get(name, "")
    if len(given) > MOST_TEXT:
        raise refusal(f"{name} has {len(given)} characters; expected at most {MOST_TEXT}")
    return given


def refusal(message: str) -> MlflowException:
    """An answer with status 400."""
    return MlflowException.invalid_parameter_value(message)
