"""What the tests of reports share: problems, samples and verdicts out of a table of outcomes."""

from collections.abc import Sequence

from kurve.report import ReportSettings, build_report
from kurve.types import Answer, Outcome, Problem, Report, Sample, SamplingSpec, Table, Verdict

C, W, E = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR
SPEC = SamplingSpec(
    model="tiny",
    model_revision="r1",
    lora="",
    benchmark="toy",
    benchmark_revision="b1",
    prompt="raw",
    prompt_digest="0" * 12,
    temperature=0.6,
    top_p=0.95,
    top_k=0,
    min_p=0.0,
    max_tokens=64,
    stop=(),
    engine="replay",
    seed="0",
)


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{i}", f"What is {i}?", Answer((str(i),), str(i))) for i in range(count)]


def verdicts(table: Sequence[Sequence[Outcome]]) -> list[Verdict]:
    return [Verdict(f"p{row}", i, outcome, "7") for row, line in enumerate(table) for i, outcome in enumerate(line)]


def samples(num_problems: int, n: int) -> list[Sample]:
    return [Sample(f"p{p}", i, f"text {p} {i}", "stop", 10) for p in range(num_problems) for i in range(n)]


def report(
    table: Sequence[Sequence[Outcome]], settings: ReportSettings, drawn: Sequence[Sample] | None = None
) -> Report:
    return build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v1",
        problems=problems(len(table)),
        samples=samples(len(table), settings.num_samples) if drawn is None else drawn,
        verdicts=verdicts(table),
        settings=settings,
    )


def table(made: Report, name: str) -> Table:
    return next(t for t in made.tables if t.name == name)
