"""Make any text fit the fields of MLflow: names it accepts, values it does not cut silently."""

import re
from collections.abc import Iterable

MAX_NAME = 250
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_DIGEST = 36


def metric_name(key: str) -> str:
    """A name that MLflow accepts: `pass@1` becomes `pass_at_1`, other odd characters `_`.

    MLflow takes names for paths, so that `a//b`, `../a` and a leading or trailing slash are refused too.
    """
    readable = re.sub(r"[^/\w.\- ]", "_", text(key).replace("@", "_at_"))
    parts = [part for part in readable.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:MAX_NAME].strip("/") or "_"


def names(keys: Iterable[str]) -> dict[str, str]:
    """An accepted name for each key; keys that would share one get a number."""
    taken: set[str] = set()
    found: dict[str, str] = {}
    for key in dict.fromkeys(keys):
        stem = metric_name(key)
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem[: MAX_NAME - 8]}_{number}"
        taken.add(name)
        found[key] = name
    return found


def text(value: str) -> str:
    """The same text for databases and JSON: lone surrogates and NUL become escapes."""
    return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def clipped(value: str, limit: int, rest: str = "kurve/config.yaml") -> str:
    """At most `limit` characters; where it cuts, it says so and where the rest is."""
    whole = text(value)
    mark = f" ... [cut at {limit} characters, whole in {rest}]"
    return whole if len(whole) <= limit else whole[: limit - len(mark)] + mark


def markdown(value: str) -> str:
    """Text that a Markdown viewer shows as it is, on one line, without marks that turn the direction of writing."""
    value = re.sub(r"[\u202a-\u202e\u2066-\u2069]", "", value)
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|<>~])", r"\\\1", text(value))
    return re.sub(r"\s+", " ", escaped.replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;"))
