"""What an importer yields, and what it must offer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from kurve.importers.reading import Meter, Peek
from kurve.types import Outcome


class Imported(NamedTuple):
    """One sample as a tool's file holds it; a tuple, since a million are made."""

    place: str  # file and line, for messages
    text: str
    question: str = ""  # the problem's own words; empty if the file has only ids
    problem_id: str = ""  # the dataset's id; empty if the file has none or only a row position
    gold: str | None = None  # reference answer as written; None if there is none
    prompt: str = ""  # what was sent; empty if unknown
    sample_index: int | None = None  # which of the problem's samples; None: numbered in the order of the file
    outcome: Outcome | None = None  # None: the file has no verdict on this sample
    grader: str = ""  # which of the tool's judges gave the outcome, where it has several
    graders: tuple[str, ...] = ()  # all whose verdict on this sample the file holds
    answer: str = ""  # what the tool read out of the response
    finish_reason: str = ""  # empty if unknown
    num_tokens: int = 0  # 0 if unknown
    logprob_sum: float | None = None  # nats


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is no sample, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of all its samples; None or empty where it says nothing."""

    model: str = ""
    revision: str = ""
    benchmark: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be read."""

    grader: str | None = None  # None: the format's usual one
    columns: Mapping[str, str | None] = field(default_factory=dict)  # of plain rows: role -> column, None leaves it out


class Importer(Protocol):
    """A format. Its functions take any file for which `recognises` is true."""

    NAME: str  # as in format=...; verdicts are kept under it

    def recognises(self, peek: Peek) -> bool:
        """Whether the beginning of a file is that of this format."""

    def gather(self, paths: Sequence[Path]) -> list[Path]:
        """The files to read, in order, out of those that were recognised."""

    def facts(self, path: Path) -> Facts:
        """What the file, its name and the files beside it say of all its samples."""

    def read(self, path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
        """The samples, lazily.

        Raises:
            DataError: the file and line that cannot be read, and what was expected.
        """
