"""What the guess filter of Yue et al. 2025 (arXiv:2504.13837), appendix D.2, left out, and a report that says so."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from kurve.observations import shortened
from kurve.report import QUESTION_CHARS
from kurve.types import Report, Table, Tally

_LISTED = 12  # ids that a sentence spells out


@dataclass(frozen=True, slots=True)
class GuessFilter:
    """What was left out, and by which direct answers."""

    source: str  # file, folder or run of the direct answers
    threshold: float  # share of direct answers below which they are guesses
    guessed: Tally  # direct answers of the problems that are left out, maybe of none
    num_problems: int  # before

    @property
    def ids(self) -> tuple[str, ...]:
        """The problems that are left out."""
        return self.guessed.problem_ids

    @property
    def words(self) -> str:
        """One sentence for a reader of the numbers."""
        rest = len(self.ids) - _LISTED
        which = f": {', '.join(self.ids[:_LISTED])}" + (f" and {rest} more" if rest > 0 else "") if self.ids else ""
        return (
            f"Guess filter: {len(self.ids)} of {self.num_problems} problems are left out, hit by fewer than "
            f"{100 * self.threshold:g} % of the direct answers of {self.source}, but by some{which}."
        )

    def json(self) -> dict[str, object]:
        """As plain values."""
        return {
            "source": self.source,
            "threshold": self.threshold,
            "num_problems_before": self.num_problems,
            "removed": [
                {"id": one, "n": int(n), "c": int(c)}
                for one, n, c in zip(self.ids, self.guessed.num_samples, self.guessed.num_correct, strict=True)
            ],
        }

    def tags(self) -> dict[str, str]:
        """For the run."""
        return {"kurve.guess_filter": self.source, "kurve.guess_filter_removed": str(len(self.ids))}


def with_filter(report: Report, found: GuessFilter, questions: Mapping[str, str]) -> Report:
    """The report that says what was left out of it: a number, a sentence, and the table `guessable`."""
    counts = zip(found.ids, found.guessed.num_samples.tolist(), found.guessed.num_correct.tolist(), strict=True)
    rows = tuple((one, n, c, c / n, shortened(questions.get(one, ""), QUESTION_CHARS)) for one, n, c in counts)
    table = Table("guessable", ("id", "n", "c", "direct_pass_at_1", "question"), rows)
    return dataclasses.replace(
        report,
        scalars={**report.scalars, "num_guessable": float(len(found.ids))},
        tables=(*report.tables, table),
        notes=(found.words, *report.notes),
    )
