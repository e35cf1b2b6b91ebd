"""Mistakes that other evaluation tools make and this one must not: one test or more a rule.

Deeper tests of each live with their modules; this page is the list.
"""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import kurve.types
from kurve.benchmarks.rows import load
from kurve.errors import ConfigError, MetricError
from kurve.metrics.bootstrap import mean_band
from kurve.metrics.passk import pass_at_k, pass_at_k_per_problem
from kurve.prompts import Template
from kurve.report import check_budget, tally
from kurve.samplers.checkpoints import local_digest
from kurve.samplers.transformers import TransformersSampler
from kurve.store import fingerprint
from kurve.types import Answer, Decoding, Model, Outcome, Problem, Prompt, Sample, SampleRequest, SamplingSpec, Verdict
from kurve.verifiers.math import MathVerifier
from tests.samplers.tiny import make_tiny_model
from tests.store.support import SPEC

FIVE = Problem("p", "How much is 2 + 3?", Answer(("5",), "5"))


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    with MathVerifier(workers=1) as shared:
        yield shared


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("tiny", str(make_tiny_model(tmp_path_factory.mktemp("rules") / "tiny")), dtype="float32")


def outcome(verifier: MathVerifier, text: str, finish_reason: str = "stop") -> Outcome:
    [verdict] = verifier.verify([(FIVE, Sample("p", 0, text, finish_reason, 10))])
    return verdict.outcome


def test_two_samples_give_no_pass_at_5_and_asking_is_refused_before_sampling() -> None:
    assert pass_at_k([2], [0]).tolist() == [0, 0]
    with pytest.raises(MetricError):
        pass_at_k_per_problem([2], [0], [5])
    with pytest.raises(ConfigError, match="raise num_samples to 5"):
        check_budget(2, [1, 5])


def test_a_measurement_leaves_nothing_behind_for_the_next() -> None:
    before = pass_at_k([4, 4], [1, 2])
    pass_at_k([100], [50])
    assert np.array_equal(pass_at_k([4, 4], [1, 2]), before)


def test_every_k_has_the_same_problems_in_its_mean() -> None:
    curve = pass_at_k([2, 8], [1, 8])
    assert len(curve) == 2
    assert curve[1] == pytest.approx(1.0)
    assert curve[0] == pytest.approx(0.75)


def test_pass_at_k_does_not_depend_on_which_samples_came_first() -> None:
    outcomes = [Outcome.CORRECT, Outcome.WRONG, Outcome.WRONG]
    curves = set()
    for order in permutations(outcomes):
        counts = tally(["p"], [Verdict("p", index, one) for index, one in enumerate(order)])
        curves.add(tuple(pass_at_k(counts.num_samples, counts.num_correct)))
    assert len(curves) == 1
    assert curves.pop() == pytest.approx((1 / 3, 2 / 3, 1))


def test_a_seed_that_is_given_is_used_and_the_global_one_is_left_alone() -> None:
    values = np.random.default_rng(0).random((40, 5))
    before = repr(np.random.get_state())  # noqa: NPY002 - the global state is what must not change
    first, again, other = (mean_band(values, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert repr(np.random.get_state()) == before  # noqa: NPY002


def test_log_probabilities_are_summed_from_logits_and_stay_finite(tiny: Model) -> None:
    import torch

    from kurve.samplers.transformers_draw import _Chooser

    chooser = _Chooser(Decoding(0.0, 1.0, 1), [0], "cpu", with_entropy=True)
    chooser(None, torch.tensor([[0.0, 200.0]]))  # the other token's probability is 0 in float32
    logprobs, entropies = chooser.collected()
    assert torch.isfinite(logprobs).all()
    assert torch.isfinite(entropies).all()


def test_core_types_are_frozen_and_hold_no_lists() -> None:
    for name, kind in vars(kurve.types).items():
        if dataclasses.is_dataclass(kind):
            assert kind.__dataclass_params__.frozen, name  # type: ignore[union-attr]  # no public way to ask
            assert not any("list" in str(field.type) for field in dataclasses.fields(kind)), name


def test_a_sampler_does_not_change_the_settings_it_is_given(tiny: Model) -> None:
    decoding = Decoding(1.0, 1.0, 4, stop=("zzz",))
    sampler = TransformersSampler(model=tiny, decoding=decoding)
    list(sampler.sample([SampleRequest(Prompt("p", text="one"), (0,), 1)]))
    assert decoding == Decoding(1.0, 1.0, 4, stop=("zzz",))


def test_a_failed_judgement_is_counted_apart_and_never_as_wrong() -> None:
    counts = tally(["p"], [Verdict("p", 0, Outcome.CORRECT), Verdict("p", 1, Outcome.ERROR)])
    assert (counts.num_samples.tolist(), counts.num_correct.tolist(), counts.num_errors.tolist()) == ([1], [1], [1])


def test_a_killed_grader_makes_no_correct_answer_wrong() -> None:
    with MathVerifier(workers=1) as verifier:
        assert outcome(verifier, r"\boxed{5}") is Outcome.CORRECT
        for pid in verifier.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert outcome(verifier, r"so \boxed{10/2}") in (Outcome.CORRECT, Outcome.ERROR)


def test_no_answer_cut_off_and_wrong_are_three_facts(verifier: MathVerifier) -> None:
    assert outcome(verifier, "I would rather not say.") is Outcome.NO_ANSWER
    assert outcome(verifier, "We add 2 and 3 and get", "length") is Outcome.TRUNCATED
    assert outcome(verifier, r"It is \boxed{6}.") is Outcome.WRONG
    assert outcome(verifier, r"It is \boxed{5}.", "length") is Outcome.CORRECT


def test_judging_works_in_any_thread_and_leaves_the_callers_alarm_alone(verifier: MathVerifier) -> None:
    rung: list[int] = []
    previous = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        found: list[Outcome] = []
        thread = threading.Thread(target=lambda: found.append(outcome(verifier, r"\boxed{5}")))
        thread.start()
        thread.join()
        assert found == [Outcome.CORRECT]
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        outcome(verifier, r"\boxed{5.0}")
        time.sleep(0.2)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(SPEC, temperature=1.0),
        dataclasses.replace(SPEC, top_p=0.5),
        dataclasses.replace(SPEC, max_tokens=1),
        dataclasses.replace(SPEC, stop=("x",)),
        dataclasses.replace(SPEC, prompt_digest="other"),
        dataclasses.replace(SPEC, model_revision="other"),
        dataclasses.replace(SPEC, seed="other"),
    ],
)
def test_other_settings_are_another_store(other: SamplingSpec) -> None:
    assert fingerprint(other) != fingerprint(SPEC)


def test_the_template_that_is_named_is_the_one_that_is_sent() -> None:
    one, two = (Template(name="t", text=text) for text in ("Q: {question}", "{question} A:"))
    assert one.render(FIVE).text == "Q: How much is 2 + 3?"
    assert two.render(FIVE).text == "How much is 2 + 3? A:"
    assert one.digest != two.digest


def test_a_missing_file_is_an_error_and_no_empty_benchmark() -> None:
    with pytest.raises(ConfigError, match=r"absent\.jsonl"):
        load(name="b", columns={"question": "q", "answer": "a"}, path="absent.jsonl")


def test_a_plain_word_is_no_stop_string() -> None:
    with pytest.raises(ConfigError, match="user"):
        Template(name="t", text="{question}", stop=["user"])


def test_a_context_too_short_is_refused_and_nothing_is_capped_in_silence(tiny: Model) -> None:
    sampler = TransformersSampler(model=tiny, decoding=Decoding(1.0, 1.0, 100_000))
    with pytest.raises(ConfigError, match="max_tokens"):
        sampler.check([Prompt("p", text="one")])


def test_sampling_leaves_the_models_folder_as_it_was(tiny: Model) -> None:
    before = local_digest(Path(tiny.path))
    sampler = TransformersSampler(model=tiny, decoding=Decoding(1.0, 1.0, 4))
    assert len(list(sampler.sample([SampleRequest(Prompt("p", text="one"), (0, 1), 1)]))) == 2
    assert local_digest(Path(tiny.path)) == before
