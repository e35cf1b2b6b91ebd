"""Every command composes with every option, and what needs no engine is built."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from kurve.cli import COMMANDS, register_resolvers
from kurve.commands.build import build, target
from kurve.types import Model

CONF = Path(__file__).resolve().parent.parent / "conf"
GROUPS = sorted(
    folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in ("hydra", "local", "__pycache__")
)
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


def composed(command: str, *overrides: str) -> DictConfig:
    register_resolvers()
    with initialize_config_module("kurve.conf", version_base="1.3"):
        return compose(command, overrides=list(overrides))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_evaluate_composes_with_every_option(group: str, option: str) -> None:
    overrides = {"model": "local", "benchmark": "gsm8k", group: option}
    if overrides["model"] == "local":
        overrides["model.path"] = "anywhere"
    cfg = composed("evaluate", *(f"{key}={value}" for key, value in overrides.items()))
    assert OmegaConf.to_container(cfg, resolve=True)
    for name in ("model", "benchmark", "prompt", "sampler", "verifier", "tracker", "sampling", "report"):
        assert callable(target(cfg[name], name))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_says_what_it_is_in_its_first_line(group: str, option: str) -> None:
    first = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize(
    "option", [o for g, o in OPTIONS if g == "model" and o not in ("local", "smollm2_135m_instruct")]
)
def test_every_model_of_the_hub_has_an_id_and_a_revision_field(option: str) -> None:
    cfg = composed("evaluate", f"model={option}", "benchmark=gsm8k")
    model = build(cfg.model, "model")
    assert isinstance(model, Model)
    assert "/" in model.path
    assert "revision" in cfg.model


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "list"])
def test_every_command_has_a_config_and_a_module(command: str) -> None:
    assert (CONF / f"{command}.yaml").is_file()
    assert (CONF.parent / "src" / "kurve" / "commands" / f"{command}.py").is_file()
