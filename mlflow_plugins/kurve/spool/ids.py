"""Provisional ids: what a run or an experiment is called until the server has given it an id of its own.

They look like MLflow's run ids, 32 hex digits, so that they are accepted wherever one is, and start with PREFIX.
"""

import hashlib
import re
import uuid
from collections.abc import Callable

PREFIX = "5b001ed"
_ID = re.compile(rf"(?<![0-9a-f]){PREFIX}[0-9a-f]{{25}}(?![0-9a-f])")


def new_id() -> str:
    """An id that nothing has."""
    return PREFIX + uuid.uuid4().hex[len(PREFIX) :]


def experiment_id(name: str) -> str:
    """The provisional id of an experiment: the same in every process."""
    return PREFIX + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[: 32 - len(PREFIX)]


def is_made_here(found: str) -> bool:
    """Whether an id looks like a provisional one."""
    return _ID.fullmatch(found) is not None


def ids_in(text: str) -> list[str]:
    """The provisional ids that a text names, each once."""
    return list(dict.fromkeys(_ID.findall(text)))


def translated(text: str, known: Callable[[str], str | None]) -> str:
    """The text with the server's ids in place of all provisional ones that are known."""
    return _ID.sub(lambda found: known(found[0]) or found[0], text)
