from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from kurve.commands.stopping import DESIGN, is_adaptive, record_design, shortened_rule, stopping_rule, stored_rule
from kurve.errors import ConfigError, DataError
from kurve.types import StoppingRule

RULE = StoppingRule(32, 3, 512)


def config(adaptive: object, num_samples: object = 64, role: str | None = None) -> DictConfig:
    return OmegaConf.create({"sampling": {"adaptive": adaptive}, "num_samples": num_samples, "tags": {"role": role}})


def test_a_target_alone_stands_for_its_defaults() -> None:
    assert stopping_rule(config(None)) is None
    assert stopping_rule(OmegaConf.create({"sampling": {}, "num_samples": 8})) is None
    assert stopping_rule(config("pass_at_k", 256)) == StoppingRule(24, 2, 256)
    assert stopping_rule(config("pass_at_k", 1024)) == StoppingRule(24, 5, 1024)
    assert stopping_rule(config("pass_at_k", 8)) == StoppingRule(8, 2, 8)
    assert stopping_rule(config({"target": "pass_at_k", "k": 64, "least": 4}, 128)) == StoppingRule(4, 3, 128)
    assert stopping_rule(config({"target": "pass_at_k", "successes": 7, "k": None}, 128)) == StoppingRule(24, 7, 128)


def test_delta_se_needs_pass_at_k_of_the_base_and_pass_at_1_of_the_others() -> None:
    assert stopping_rule(config("delta_se", 256, "base")) == StoppingRule(24, 2, 256)
    for role in ("tuned", "distilled"):
        rule = stopping_rule(config({"target": "delta_se", "least": 16}, 256, role))
        assert rule is not None
        assert (rule.least, rule.most) == (16, 16)


@pytest.mark.parametrize(
    ("adaptive", "says"),
    [
        ("pass_at_1", "expected delta_se or pass_at_k"),
        (True, "expected delta_se or pass_at_k"),
        (["pass_at_k"], "expected delta_se or pass_at_k"),
        ({"k": 8}, "expected delta_se or pass_at_k"),
        ({"target": ["pass_at_k"]}, "expected delta_se or pass_at_k"),
        ({"target": "pass_at_k", "succeses": 3}, "did you mean successes?"),
        ({"target": "pass_at_k", "zzz": 3}, "it has target, k, successes, least"),
        ({"target": "pass_at_k", "successes": 1}, "from 2 to 64"),
        ({"target": "pass_at_k", "successes": "many"}, "from 2 to 64"),
        ({"target": "pass_at_k", "least": 65}, "from 2 to 64"),
        ({"target": "pass_at_k", "least": 2.5}, "from 2 to 64"),
        ({"target": "pass_at_k", "k": 128}, "set num_samples=128 or more"),
        ({"target": "pass_at_k", "k": 1}, "2 or more"),
        ("delta_se", "set tags.role=base, tuned or distilled"),
    ],
)
def test_settings_that_cannot_work_are_refused(adaptive: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        stopping_rule(config(adaptive))


def test_one_sample_or_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_samples is 1"):
        stopping_rule(config("pass_at_k", 1))
    with pytest.raises(ConfigError, match="'teacher'"):
        stopping_rule(config("delta_se", 64, "teacher"))


def test_the_record_tells_a_fixed_number_from_never_adaptive(tmp_path: Path) -> None:
    record_design(tmp_path, None)
    assert not is_adaptive(tmp_path)
    record_design(tmp_path, RULE)
    assert (is_adaptive(tmp_path), stored_rule(tmp_path)) == (True, RULE)
    record_design(tmp_path, None)
    assert (is_adaptive(tmp_path), stored_rule(tmp_path)) == (True, None)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2, "rule": null}', '{"format": 1, "rule": {"least": "x"}}'])
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / DESIGN).write_text(content)
    with pytest.raises(DataError, match="is damaged"):
        stored_rule(tmp_path)


def test_a_shortened_rule_stays_one() -> None:
    assert shortened_rule(RULE, 16) == StoppingRule(16, 3, 16)
    assert shortened_rule(RULE, 100) == StoppingRule(32, 3, 100)
    assert shortened_rule(RULE, 9999) == RULE
