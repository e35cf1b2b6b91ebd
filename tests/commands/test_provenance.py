"""What is recorded about a run: complete, and without secrets."""

import pytest
from omegaconf import OmegaConf

from kurve.commands import provenance
from kurve.errors import ConfigError


def test_passwords_and_keys_are_not_recorded() -> None:
    cfg = OmegaConf.create(
        {
            "tracker": {"uri": "postgresql://me:hunter2@db:5432/mlflow", "api_key": "sk-1"},
            "sampler": {"api_key_env": "OPENAI_API_KEY", "max_tokens": 160, "headers": [{"auth_token": "abc"}]},
        }
    )
    text = provenance.as_yaml(provenance.recorded(cfg))
    assert "hunter2" not in text
    assert "sk-1" not in text
    assert "abc" not in text
    assert "postgresql://me:***@db:5432/mlflow" in text
    assert "OPENAI_API_KEY" in text
    assert provenance.recorded(cfg)["sampler"]["max_tokens"] == 160


def test_params_are_dotted_and_hold_no_machinery() -> None:
    params = provenance.flat_params({"a": {"_target_": "x", "b": [1, 2], "c": None}, "paths": {"out": "/tmp"}})
    assert params == {"a.b": "[1, 2]", "a.c": "None"}


def test_an_open_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="path"):
        provenance.recorded(OmegaConf.create({"path": "???"}))


def test_versions_name_python_and_kurve() -> None:
    assert {"python", "kurve", "mlflow", "numpy"} <= set(provenance.versions())
