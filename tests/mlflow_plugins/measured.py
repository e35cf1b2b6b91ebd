"""Evaluations as `kurve evaluate` measures them, with problems, samples and log-probabilities, for a tracker."""

from collections.abc import Sequence

from kurve.report import ReportSettings, build_report
from kurve.types import Answer, Outcome, Problem, Report, Sample, SamplingSpec, Verdict


def measured(
    correct: Sequence[int],
    num_samples: int = 8,
    *,
    benchmark: str = "gsm8k",
    nats: float | None = 0.5,
    text: str = "The answer is 4.",
) -> Report:
    """The report on problems of which the first so many samples are correct.

    Args:
        correct: correct samples of each problem.
        num_samples: of each problem.
        benchmark: its name.
        nats: a token of every response under its model; None where it is not known.
        text: of every response, behind its outcome.
    """
    problems = [
        Problem(f"p{row}", f"What is {row} + 4?", Answer((str(row + 4),), str(row + 4))) for row in range(len(correct))
    ]
    places = [(row, index) for row in range(len(correct)) for index in range(num_samples)]
    return build_report(
        benchmark=benchmark,
        spec=SamplingSpec("model", "r1", "", benchmark, "b1", "chat", "d1", 1.0, 1.0, 0, 0.0, 256, (), "replay", "0"),
        verifier="math-1",
        problems=problems,
        samples=[
            Sample(
                f"p{row}",
                index,
                f"{'right' if index < correct[row] else 'wrong'}: {text}",
                "stop",
                10,
                logprob_sum=None if nats is None else -10 * nats * (1 + index / num_samples),
            )
            for row, index in places
        ],
        verdicts=[
            Verdict(f"p{row}", index, Outcome.CORRECT if index < correct[row] else Outcome.WRONG, "4")
            for row, index in places
        ],
        settings=ReportSettings(num_samples),
    )
