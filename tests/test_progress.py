"""What a person sees while an evaluation runs."""

import io
import logging
import time

from kurve.progress import Progress
from kurve.types import Outcome, Sample, Verdict


def sample(problem_id: str, index: int, num_tokens: int = 100) -> Sample:
    return Sample(problem_id, index, "text", "stop", num_tokens)


def test_a_line_counts_problems_samples_speed_and_correct_ones() -> None:
    with Progress(missing={"a": 2, "b": 2}, num_problems=3, stream=io.StringIO()) as progress:
        assert "waiting for the first sample: problems 1/3, samples 0/4" in progress.line()
        progress.drawing_since(time.monotonic() - 10)
        for one in (sample("a", 0), sample("a", 1), sample("b", 0)):
            progress.sampled(one)
        progress.judged(Verdict("a", 0, Outcome.CORRECT))
        progress.judged(Verdict("a", 1, Outcome.ERROR))
        line = progress.line()
    assert "sampling: problems 2/3, samples 3/4 (75%), 30 tokens/s, correct 1 of 2 judged (50.0%)" in line
    assert "3 s left" in line


def test_without_a_terminal_there_are_plain_lines_and_a_last_one() -> None:
    stream = io.StringIO()
    with Progress(missing={}, num_problems=2, stream=stream) as progress:
        progress.stage("done")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("all samples are stored: problems 2/2")
    assert lines[-1].startswith("done: problems 2/2")
    assert "\x1b" not in stream.getvalue()


def test_warnings_of_the_engine_appear_above_the_display() -> None:
    logger = logging.getLogger("kurve")
    handler = logging.StreamHandler(io.StringIO())
    logger.addHandler(handler)
    stream = io.StringIO()
    try:
        with Progress(missing={"a": 1}, num_problems=1, stream=stream):
            logging.getLogger("kurve.engine").warning("out of [memory]")
    finally:
        logger.removeHandler(handler)
    assert "out of [memory]" in stream.getvalue()


def test_a_correct_share_is_absent_before_anything_is_judged() -> None:
    with Progress(missing={"a": 1}, num_problems=1, stream=io.StringIO()) as progress:
        progress.sampled(sample("a", 0))
        assert "correct" not in progress.line()
