import pytest

from tests.conftest import RunKurve

NAMED = ("promote", "model=m", "version=1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["promote", "version=1"], "needs model=<name of a registered model>"),
        (["promote", "model=m"], "needs model=<name of a registered model>"),
        ([*NAMED, "tracker=dir"], "needs a tracker with a model registry"),
        ([*NAMED, "tracker=none"], "needs a tracker with a model registry"),
        ([*NAMED, "alias=v3"], "cannot be an alias"),
        ([*NAMED, "alias='not one'"], "cannot be an alias"),
        ([*NAMED, "dry_run=maybe"], "dry_run is 'maybe'"),
        ([*NAMED, "gate=strictest"], "Could not find 'gate/strictest'"),
        ([*NAMED, "gate.min_problems=0"], "gate.min_problems is 0"),
        ([*NAMED, "gate.superiority_margin=lots"], "gate.superiority_margin is 'lots'"),
        ([*NAMED, "gate.multiplicity=fixed_sequence"], "needs gate.benchmarks"),
        ([*NAMED, "gate.benchmarks=math500"], "gate.benchmarks is 'math500'"),
    ],
)
def test_a_mistake_in_the_call_is_refused_with_exit_code_2(kurve_here: RunKurve, words: list[str], said: str) -> None:
    done = kurve_here(*words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_registered_is_refused_and_nothing_is_made(kurve_here: RunKurve) -> None:
    done = kurve_here("promote", "model=org/model=7b", "version=1")
    assert done.returncode == 2
    assert "cannot find the model org/model=7b@1" in " ".join(done.stderr.split())
