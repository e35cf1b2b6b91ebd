"""Take values out of rows that other tools wrote, refusing those of another kind with their place."""

from collections.abc import Mapping, Sequence

from kurve.errors import DataError
from kurve.importers.reading import Values

QUESTION = ("question", "problem", "Question", "Problem", "query", "input", "prompt", "text", "goal")
IDS = ("unique_id", "task_id", "problem_id", "question_id", "id")


def text_of(values: Values, key: str, place: str) -> str:
    """A text.

    Raises:
        DataError: it is missing, or something else.
    """
    value = values.get(key)
    if not isinstance(value, str):
        raise DataError(f"{place}: {key} is {_shown(value)}; expected a text")
    return value


def texts_of(values: Values, key: str, place: str) -> list[str]:
    """A list of texts.

    Raises:
        DataError: it is missing, or something else.
    """
    value = values.get(key)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise DataError(f"{place}: {key} is {_shown(value)}; expected a list of texts")
    return value


def mapping_of(values: Values, key: str, place: str) -> Mapping[str, object]:
    """An object with names.

    Raises:
        DataError: it is missing, or something else.
    """
    value = values.get(key)
    if not isinstance(value, dict):
        raise DataError(f"{place}: {key} is {_shown(value)}; expected an object")
    return value


def first_text(values: Values, keys: Sequence[str]) -> str:
    """The first of these that is a text and not empty; empty if none is."""
    return next((one for key in keys if isinstance(one := values.get(key), str) and one.strip()), "")


def dataset_id(values: Values) -> str:
    """The dataset's own id; a whole number may be a row position and is taken for none."""
    return first_text(values, IDS).strip()


def gold_of(value: object) -> str | None:
    """A reference answer as text; None if there is none, or several of which any would do."""
    if isinstance(value, list | tuple):
        return gold_of(value[0]) if len(value) == 1 else None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)
    return (value.strip() or None) if isinstance(value, str) else None


def number_of(value: object) -> float | None:
    """A number, from a number or its text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def count_of(value: object) -> int | None:
    """A whole number from 0; None for anything else."""
    number = number_of(value)
    return int(number) if number is not None and number >= 0 and number.is_integer() else None


def under(values: object, *keys: str) -> object:
    """What lies under nested keys; None as soon as one is missing."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _shown(value: object) -> str:
    return "missing" if value is None else f"{value!r:.60}"
