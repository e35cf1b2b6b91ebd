import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kurve.errors import ConfigError
from kurve.types import Outcome
from kurve.verifiers.math import MathVerifier
from tests.verifiers import real
from tests.verifiers.samples import item, judge

HANGING = r"\boxed{\binom{10^7}{5 \cdot 10^6}}"


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("5", r"so \boxed{5}"),
        ("5", r"$\boxed{5.0}$."),
        ("5", r"\fbox{5}"),
        (r"\frac{1}{2}", r"\[ x = \boxed{\dfrac{1}{2}} \]"),
        ("18", "#### 18"),
        ("18", "#### $18.00"),
        ("50", "#### 50%."),
        (("1", "2"), "#### 2, 1"),
        ("7" * 5000, "the number " + "7" * 5000),
        ("5", "The answer is: **5**"),
        ("18", "She has 3 dogs.\nThe answer is 18."),
        ("18", "there are\n18 apples"),
        ("1234", "It is $1,234$."),
        (r"4.5\times10^{33}", r"\boxed{4.5e33}"),
        (r"4.5\times10^{33}", "The answer is 4.5e33."),
        (r"4.5\times10^{33}", r"Final answer: the final answer is $4.5E+33$. I hope it is correct."),
        (r"4.5\times10^{33}", r"\boxed{45 \times 10^{32}}"),
        ("50", r"\boxed{50%}"),
        ("50", r"\boxed{50\%}"),
        (r"62.5\%", r"\boxed{62.5}"),
        (r"62.5\%", r"\boxed{62.5%}"),
        ("5", r"\boxed{7} is what I said, but really the final answer is $5$."),
    ],
)
def test_the_same_value_is_correct_however_it_is_written(
    gold: str | tuple[str, ...], text: str, verifier: MathVerifier
) -> None:
    assert judge(verifier, gold, text).outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("5", r"\boxed{6}"),
        (r"4.5\times10^{33}", r"\boxed{4.49e33}"),
        (r"4.5\times10^{33}", r"\boxed{4.5e32}"),
        (r"6.63\times10^{-34}", r"\boxed{6.6e-33}"),
        (r"6.63\times10^{-34}", r"\boxed{0}"),
        ("0.00000012", r"\boxed{0.00000019}"),
        ("5", r"\boxed{5} \text{ no, wait, it is in the end and after all this long thinking } \boxed{6}"),
        ("5", r"\boxed{\text{unknown}}"),
    ],
)
def test_another_value_is_wrong(gold: str, text: str, verifier: MathVerifier) -> None:
    assert judge(verifier, gold, text).outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (r"\boxed{2, -2}", Outcome.CORRECT),
        (r"\boxed{-2 \text{ and } 2}", Outcome.CORRECT),
        (r"\boxed{\pm 2}", Outcome.CORRECT),
        (r"$\boxed{-2}$ and $\boxed{2}$", Outcome.CORRECT),
        (r"\boxed{2}", Outcome.WRONG),
        (r"\boxed{2, -2, 3}", Outcome.WRONG),
        (r"\boxed{2, 2}", Outcome.WRONG),
    ],
)
def test_all_of_several_values_must_be_given_in_any_order(text: str, outcome: Outcome, verifier: MathVerifier) -> None:
    assert judge(verifier, ("2", "-2"), text).outcome is outcome


def test_pairs_in_any_order_are_one_answer(verifier: MathVerifier) -> None:
    gold = ("(1,2)", "(3,4)", r"(0,\frac{1}{2})")
    assert judge(verifier, gold, r"\boxed{(0,0.5),(3,4),(1,2)}").outcome is Outcome.CORRECT
    assert judge(verifier, gold, r"\boxed{(0,0.5),(4,3),(1,2)}").outcome is Outcome.WRONG


@pytest.mark.parametrize("text", [r"\boxed{10 \mathrm{~km/h}}", r"\boxed{10}", r"\boxed{10\text{ km/h}}", "$10$ km/h"])
def test_a_unit_may_be_given_or_left_out(text: str, verifier: MathVerifier) -> None:
    verdict = judge(verifier, "10", text, unit="km/h")
    assert verdict.outcome is Outcome.CORRECT
    assert verdict.second is Outcome.CORRECT


def test_a_tolerance_is_absolute(verifier: MathVerifier) -> None:
    assert judge(verifier, "3.1", r"\boxed{3.15}", tolerance=0.05).outcome is Outcome.CORRECT
    assert judge(verifier, "3.1", r"\boxed{3.16}", tolerance=0.05).outcome is Outcome.WRONG
    assert judge(verifier, ("1", "2"), r"\boxed{2.01, 0.99}", tolerance=0.05).outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("I do not know", "stop", Outcome.NO_ANSWER),
        ("", "stop", Outcome.NO_ANSWER),
        (r"\boxed{}", "stop", Outcome.NO_ANSWER),
        ("I do not know", "length", Outcome.TRUNCATED),
        ("so 5 and then 5", "length", Outcome.TRUNCATED),
        ("the answer must be below $5$, so", "length", Outcome.TRUNCATED),
        ("The final answer is 5", "length", Outcome.TRUNCATED),
        (r"so \boxed{5", "length", Outcome.TRUNCATED),
        (r"so \boxed{5} and now I go on to", "length", Outcome.CORRECT),
        (r"so \boxed{6} and now I go on to", "length", Outcome.WRONG),
        ("The final answer is 5. And", "length", Outcome.CORRECT),
        ("#### 5\n\nQuestion:", "length", Outcome.CORRECT),
    ],
)
def test_a_text_without_answer_and_a_cut_text_are_told_apart(
    text: str, finish: str, outcome: Outcome, verifier: MathVerifier
) -> None:
    assert judge(verifier, "5", text, finish=finish).outcome is outcome


def test_an_unreadable_reference_is_an_error_and_not_a_wrong_answer(verifier: MathVerifier) -> None:
    verdicts = verifier.verify([item(gold, r"\boxed{5}", index=i) for i, gold in enumerate(["", "5", "   "])])
    assert [verdict.outcome for verdict in verdicts] == [Outcome.ERROR, Outcome.CORRECT, Outcome.ERROR]


def test_verdicts_equal_math_verify_called_one_by_one_on_real_references(verifier: MathVerifier) -> None:
    made = real.responses(random.Random(11), real.golds(), 80)
    verdicts = verifier.verify([item(gold, text) for gold, text in made])
    differences = [
        (gold, text[-100:], verdict.outcome)
        for (gold, text), verdict in zip(made, verdicts, strict=True)
        if (verdict.outcome is Outcome.CORRECT) is not real.one_by_one(gold, text)
        and not re.search(r"\de-?\d|np\.|\\%|-1\./3|\n\$", gold + text)  # what math-verify itself cannot read
    ]
    assert differences == []
    assert {verdict.outcome for verdict in verdicts} <= {Outcome.CORRECT, Outcome.WRONG}


@pytest.mark.slow
def test_every_real_reference_verifies_against_itself_in_a_box(verifier: MathVerifier) -> None:
    pairs = real.golds()
    verdicts = verifier.verify([item(gold, rf"it is \boxed{{ {gold} }}.") for gold, _ in pairs])
    assert [
        pair[0] for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.outcome is not Outcome.CORRECT
    ] == []


def test_workers_killed_at_random_change_no_verdict() -> None:
    items = [item(str(i), rf"\boxed{{\frac{{{2 * i + i % 2}}}{{2}}}}", index=i) for i in range(1, 250)]
    stop = threading.Event()

    def kill(verifier: MathVerifier) -> None:
        rng = random.Random(3)
        for _ in range(2):
            stop.wait(0.4)
            for pid in rng.sample(verifier.worker_pids(), k=min(1, len(verifier.worker_pids()))):
                os.kill(pid, signal.SIGKILL)

    with MathVerifier(workers=2) as verifier:
        verifier.verify(items[:2])
        killer = threading.Thread(target=kill, args=(verifier,))
        killer.start()
        verdicts = verifier.verify(items)
        stop.set()
        killer.join()
    wanted = [Outcome.WRONG if i % 2 else Outcome.CORRECT for i in range(1, 250)]
    assert [verdict.outcome for verdict in verdicts] == wanted


def test_a_hanging_answer_times_out_and_its_batch_is_judged(impatient: MathVerifier) -> None:
    items = [item("5", HANGING), *(item(str(i), rf"\boxed{{{i}.0}}") for i in range(20))]
    assert [verdict.outcome for verdict in impatient.verify(items)] == [Outcome.TIMEOUT] + [Outcome.CORRECT] * 20
    start = time.monotonic()
    assert judge(impatient, "5", HANGING).outcome is Outcome.TIMEOUT
    assert time.monotonic() - start < 0.5, "the same hanging answer was tried again"


def test_a_reference_that_hangs_is_an_error_for_all_its_samples(impatient: MathVerifier) -> None:
    gold = "+".join(["((((1))))"] * 3000)
    items = [item(gold, rf"\boxed{{{i}}}", index=i) for i in range(5)]
    start = time.monotonic()
    assert {verdict.outcome for verdict in impatient.verify(items)} == {Outcome.ERROR}
    assert time.monotonic() - start < 20


def test_verify_works_off_the_main_thread_and_leaves_the_callers_alarm_alone(verifier: MathVerifier) -> None:
    outcomes: list[Outcome] = []
    before = signal.getsignal(signal.SIGALRM)
    remaining = signal.getitimer(signal.ITIMER_REAL)[0]

    def work() -> None:
        outcomes.append(judge(verifier, "7", r"\boxed{7.00}").outcome)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [Outcome.CORRECT] * 4
    assert signal.getsignal(signal.SIGALRM) is before
    after = signal.getitimer(signal.ITIMER_REAL)[0]
    assert (after == 0) == (remaining == 0)


SCRIPT = r"""
import sys
from kurve.types import Answer, Problem, Sample
from kurve.verifiers.math import MathVerifier
verifier = MathVerifier(workers=1, budget=30)
item = lambda text: (Problem("p", "q", Answer(("5",), "5")), Sample("p", 0, text, "stop", 1))
print(verifier.verify([item(r"\boxed{5.0}")])[0].outcome.value, *verifier.worker_pids(), flush=True)
print(*sorted({"torch", "vllm", "math_verify", "sympy", "mlflow"} & set(sys.modules)), flush=True)
if len(sys.argv) > 1:
    verifier.verify([item(sys.argv[1])])
"""


@pytest.mark.parametrize("how", ["file", pytest.param("-c", marks=pytest.mark.slow), "stdin"])
def test_any_kind_of_main_program_may_verify(how: str, tmp_path: Path) -> None:
    script = tmp_path / "script without guard.py"
    script.write_text(SCRIPT)
    command = {"file": [str(script)], "-c": ["-c", SCRIPT], "stdin": ["-"]}[how]
    done = subprocess.run(
        [sys.executable, *command], input=SCRIPT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("correct ")
    assert done.stdout.splitlines()[1] == "", "a heavy package was imported by the caller's process"
    assert _gone(int(done.stdout.split()[1]))


def test_a_busy_worker_dies_with_its_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT, HANGING], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline().split()[1])
    time.sleep(0.7)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _gone(pid)


def _gone(pid: int) -> bool:
    for _ in range(60):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_workers_load_neither_torch_nor_vllm_and_run_at_low_priority(verifier: MathVerifier) -> None:
    judge(verifier, "3", r"\boxed{3.0}")
    for pid in verifier.worker_pids():
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "libtorch" not in maps
        assert "vllm" not in maps
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)


def test_the_fingerprint_depends_on_what_changes_verdicts_and_on_nothing_else(tmp_path: Path) -> None:
    first = MathVerifier().fingerprint
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert MathVerifier(workers=7, cache=tmp_path).fingerprint == first
    assert MathVerifier(budget=9).fingerprint != first
    assert MathVerifier(second=False).fingerprint != first


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        MathVerifier(workers=0)
    with pytest.raises(ConfigError, match="more than 0"):
        MathVerifier(budget=float("nan"))
    with pytest.raises(ConfigError, match="at least 1"):
        MathVerifier(memory_gb=0.1)


def test_without_the_second_grader_there_is_no_second_outcome() -> None:
    with MathVerifier(workers=1, second=False) as verifier:
        verdict = judge(verifier, "5", r"\boxed{5}")
    assert verdict.outcome is Outcome.CORRECT
    assert verdict.second is None
    assert json.dumps(verdict.answer) == '"5"'
