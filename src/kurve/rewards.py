"""Present a verifier as a TRL reward function: training and evaluation judge with the same code."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from kurve.errors import ConfigError
from kurve.types import Outcome, Problem, Sample, Verdict
from kurve.verifiers import Verifier

REWARDS: Mapping[Outcome, float | None] = {
    Outcome.CORRECT: 1.0,
    Outcome.WRONG: 0.0,
    Outcome.NO_ANSWER: 0.0,
    Outcome.TRUNCATED: 0.0,
    Outcome.TIMEOUT: None,  # the judge failed, which says nothing about the response
    Outcome.ERROR: None,
}
Completion = str | Sequence[Mapping[str, str]]  # of a text prompt, or the messages of a chat


class VerdictReward:
    """1 for a correct response, 0 for any other, None (no reward) where the verifier failed or ran out of time.

    The share of each outcome among the responses of a call is logged as `verdicts/<outcome>`, a fraction, and each
    response's outcome becomes a column of TRL's table of completions.

    Args:
        verifier: entered already.
        problems: all that the training set names.
        max_tokens: length at which a response is cut.
        end_tokens: token ids that end a response; one of `max_tokens` tokens without such an end was cut off.
    """

    __name__ = "verdict"  # TRL's name for it: rewards/verdict/mean

    def __init__(
        self, verifier: Verifier, problems: Iterable[Problem], *, max_tokens: int, end_tokens: Collection[int] = ()
    ) -> None:
        self._verifier = verifier
        self._problems = {problem.id: problem for problem in problems}
        self._max_tokens, self._end_tokens = max_tokens, frozenset(end_tokens)

    def __call__(
        self,
        *,
        completions: Sequence[Completion],
        completion_ids: Sequence[Sequence[int]],
        problem_id: Sequence[str],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[str]], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """The reward of each completion, in order; TRL turns None into NaN.

        Raises:
            ConfigError: a problem id that was not among the problems.
            VerifierError: the verifier cannot be started at all.
        """
        verdicts = self.judge(completions, completion_ids, problem_id)
        counts = Counter(verdict.outcome for verdict in verdicts)
        if log_metric is not None:
            for outcome in Outcome:
                log_metric(f"verdicts/{outcome}", counts[outcome] / max(len(verdicts), 1))
        if log_extra is not None:
            log_extra("problem_id", list(problem_id))
            log_extra("outcome", [str(verdict.outcome) for verdict in verdicts])
        return [REWARDS[verdict.outcome] for verdict in verdicts]

    def judge(
        self, completions: Sequence[Completion], completion_ids: Sequence[Sequence[int]], problem_id: Sequence[str]
    ) -> list[Verdict]:
        """The verdict on each completion, in order; nothing is logged."""
        rows = zip(completions, completion_ids, problem_id, strict=True)
        return self._verifier.verify(
            [
                (self._problem(name), Sample(name, index, _text(completion), self._finish_reason(ids), len(ids)))
                for index, (completion, ids, name) in enumerate(rows)
            ]
        )

    def _finish_reason(self, ids: Sequence[int]) -> str:
        cut = len(ids) >= self._max_tokens and ids[-1] not in self._end_tokens
        return "length" if cut else "stop"

    def _problem(self, name: str) -> Problem:
        try:
            return self._problems[name]
        except KeyError:
            raise ConfigError(
                f"the training set names problem {name!r}, which is none of the {len(self._problems)} problems given"
            ) from None


def _text(completion: Completion) -> str:
    return completion if isinstance(completion, str) else "".join(message["content"] for message in completion)
