"""What tools write as verdicts -> outcomes, and which of several judges counts."""

import math
from collections.abc import Sequence

from kurve.errors import DataError
from kurve.types import Outcome

_RIGHT = ("true", "1", "1.0", "yes", "correct", "right", "pass", "passed")
_WRONG = ("false", "0", "0.0", "no", "incorrect", "wrong", "fail", "failed")
_WORDS = {
    **{str(outcome): outcome for outcome in Outcome},
    **dict.fromkeys(_RIGHT, Outcome.CORRECT),
    **dict.fromkeys(_WRONG, Outcome.WRONG),
}


def outcome_of(value: object, place: str, name: str) -> Outcome | None:
    """The outcome that a value says: truth values, 0 and 1, words such as `correct`; None where there is none.

    Args:
        value: as the file has it.
        place: of the row, for messages.
        name: of the verdict.

    Raises:
        DataError: a value between right and wrong, or another thing.
    """
    if value is True or value is False:
        return Outcome.CORRECT if value else Outcome.WRONG
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int | float) and value in (0, 1):
        return Outcome.CORRECT if value == 1 else Outcome.WRONG
    if isinstance(value, str) and (found := _WORDS.get(value.strip().lower())):
        return found
    raise DataError(f"{place}: {name} is {value!r:.60}; expected the verdict on one sample: true or false, 1 or 0")


def outcomes_of(value: object, num_responses: int, place: str, name: str) -> list[Outcome | None]:
    """The outcome of each response by one value; a value of several responses together says nothing about each.

    Raises:
        DataError: as `outcome_of`.
    """
    if isinstance(value, list) and len(value) == num_responses:
        return [outcome_of(one, place, name) for one in value]
    return [outcome_of(value, place, name)] if num_responses == 1 else [None] * num_responses


def choose(offered: Sequence[str], wanted: str | None, preferred: Sequence[str], place: str) -> str:
    """The judge that counts: the one wanted, else the first preferred one, else the first.

    Raises:
        DataError: the one wanted is not offered.
    """
    if wanted is None:
        return next((name for name in preferred if name in offered), offered[0] if offered else "")
    if wanted not in offered:
        raise DataError(f"{place}: no verdict by grader={wanted}; there is {', '.join(offered) or 'none'}")
    return wanted
