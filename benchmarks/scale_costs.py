"""What each step of an evaluation costs by the number of samples: each in a process of its own, its memory seen apart.

    python -m benchmarks.scale_costs <step> <folder> <problems> <samples a problem>

prints one line of JSON: seconds of the processor, peak memory, bytes written. `measured` runs it. Processor seconds
rather than wall clock, so that a machine that others use gives the same.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.processes import peak_bytes
from kurve.commands.stages import judge_stored
from kurve.export import write_files
from kurve.metrics.answers import SampleMetric, best_by_logprob, diversity, majority
from kurve.metrics.bootstrap import mean_band
from kurve.metrics.passk import log_spaced, pass_at_k_of
from kurve.report import ReportSettings, build_report
from kurve.samples_file import write_samples
from kurve.store import SampleStore, VerdictStore, merge
from kurve.types import Answer, Outcome, Problem, Sample, SamplingSpec, Tally, Verdict

SHARDS = 4
WORDS_A_SAMPLE = 300  # about 700 tokens of mathematics
SPEC = SamplingSpec(
    "org/model", "abc", "", "scale", "1", "boxed", "0123", 0.6, 0.95, 0, 0.0, 16384, (), "vllm", "0"
)  # fmt: skip
VERIFIER = "scale"
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Point:
    """One step at one size."""

    step: str
    problems: int
    samples: int  # of all problems
    seconds: float  # of the processor
    peak: int  # bytes of memory, Python itself included
    written: int  # bytes of what the step made


def measured(step: str, folder: Path, problems: int, each: int) -> Point:
    """Run one step in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    words = [sys.executable, "-m", "benchmarks.scale_costs", step, str(folder), str(problems), str(each)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=REPOSITORY, env=one_thread, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{step} of {problems} x {each} failed:\n{done.stderr[-2000:]}")
    return Point(**json.loads(done.stdout))


def append(root: Path, problems: int, each: int) -> int:
    """Store every sample by itself, as it comes from an engine, into shards of equal parts of each problem."""
    texts = _texts(random.Random(0))
    for shard in range(SHARDS):
        with SampleStore.open(root / f"shard{shard}", SPEC) as store:
            for problem in range(problems):
                for index in range(shard * each // SHARDS, (shard + 1) * each // SHARDS):
                    store.append(_sample(problem, index, texts))
    return _bytes(root)


def join(root: Path, _problems: int, _each: int) -> int:
    """Merge the shards."""
    merge([next((root / f"shard{shard}").iterdir()) for shard in range(SHARDS)], root / "merged")
    return _bytes(root / "merged")


class _AtOnce:
    """A verifier that takes no time, so that what is around it is seen."""

    fingerprint = VERIFIER

    def __enter__(self) -> "_AtOnce":
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        """The number in the box is right if it is 4."""
        return [_verdict(sample) for _, sample in items]


def judge(root: Path, problems: int, each: int) -> int:
    """Read every sample and store a verdict, as `kurve verify` does, without the time of its verifier."""
    with SampleStore.open_folder(_merged(root)) as store, VerdictStore.open(store, VERIFIER) as verdicts:
        known = {problem.id: problem for problem in _problems(problems)}
        judge_stored(store, verdicts, _AtOnce(), known, num_samples=each)
        return sum(path.stat().st_size for path in store.folder.glob(f"verdicts-{VERIFIER}*"))


def resume(root: Path, problems: int, each: int) -> int:
    """Open the store for writing, and see that nothing is missing."""
    folder = _merged(root)
    store = SampleStore.open_folder(folder, read_only=False)
    with store, VerdictStore.open(store, VERIFIER) as verdicts:
        assert not store.missing(_ids(problems), each)
        assert not verdicts.missing(_ids(problems), each)
    return 0


def report(root: Path, problems: int, each: int) -> int:
    """Everything that a report measures by default, and its files."""
    metrics: dict[str, SampleMetric | None] = {
        "majority": partial(majority, subsets=200),
        "best_by_mean_logprob": partial(best_by_logprob, score="mean"),
        "diversity": diversity,
    }
    settings = ReportSettings(each, sample_metrics=metrics)
    with SampleStore.open_folder(_merged(root)) as store, VerdictStore.open(store, VERIFIER, read_only=True) as judged:
        found = build_report(
            benchmark="scale",
            spec=SPEC,
            verifier=VERIFIER,
            problems=_problems(problems),
            samples=store.samples(),
            verdicts=judged.verdicts(),
            settings=settings,
        )
    return sum(path.stat().st_size for path in write_files(found, root / "report"))


def parquet(root: Path, problems: int, _each: int) -> int:
    """All samples as the one file that is kept with a run."""
    path = root / "samples.parquet"
    with SampleStore.open_folder(_merged(root)) as store, VerdictStore.open(store, VERIFIER, read_only=True) as judged:
        write_samples(path, _ids(problems), store.samples(), judged.verdicts())
    return path.stat().st_size


def band(_root: Path, problems: int, each: int) -> int:
    """Curve, band and intervals of so many problems, without a sample."""
    rng = np.random.default_rng(0)
    correct = rng.binomial(each, rng.beta(0.5, 1.0, problems))
    n = np.full(problems, each, dtype=np.int64)
    counts = Tally(tuple(_ids(problems)), n, correct.astype(np.int64), np.zeros(problems, dtype=np.int64))
    ks = log_spaced(each)
    mean_band(pass_at_k_of(counts, ks), rng)
    return 0


STEPS: dict[str, Callable[[Path, int, int], int]] = {
    "append": append, "merge": join, "judge": judge, "resume": resume, "report": report, "parquet": parquet,
    "band": band,
}  # fmt: skip


def _main() -> None:
    step, folder, problems, each = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    began = time.process_time()
    written = STEPS[step](folder, problems, each)
    seconds = time.process_time() - began
    sys.stdout.write(json.dumps(asdict(Point(step, problems, problems * each, seconds, peak_bytes(), written))) + "\n")


def _ids(problems: int) -> list[str]:
    return [f"scale/test/{problem}" for problem in range(problems)]


def _problems(problems: int) -> list[Problem]:
    return [Problem(one, f"What is {one}?", Answer(("4",), "4")) for one in _ids(problems)]


def _merged(root: Path) -> Path:
    return next((root / "merged").iterdir())


def _texts(rng: random.Random) -> list[str]:
    """Responses of words that are as unevenly frequent as those of a language."""
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(5000)]
    weights = [1 / rank for rank in range(1, 5001)]
    return [" ".join(rng.choices(words, weights, k=WORDS_A_SAMPLE)) for _ in range(997)]


def _sample(problem: int, index: int, texts: list[str]) -> Sample:
    number = problem * 7919 + index * 104_729
    text = f"{texts[number % 997]} {texts[number % 991][:200]} So the answer is \\boxed{{{number % 5}}}."
    return Sample(
        f"scale/test/{problem}", index, text, "stop", 600 + number % 200, number, -0.5 * (number % 997), None, "vllm",
        "0.31.0",
    )  # fmt: skip


def _verdict(sample: Sample) -> Verdict:
    answer = sample.text[-3]
    outcome = Outcome.CORRECT if answer == "4" else Outcome.WRONG
    return Verdict(sample.problem_id, sample.index, outcome, answer, outcome)


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in _files(root))


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())


if __name__ == "__main__":
    _main()
