"""Which model `model=local` means: a path, or a step of a training that kurve ran."""

import copy
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kurve import training_record
from kurve.commands.build import build
from kurve.commands.made import environment
from kurve.errors import ConfigError, TrackingError, TrainingError
from kurve.study import quoted, read_made
from kurve.tracking import Tracker
from kurve.types import Model

FOLDER_TAG = "kurve.training"  # of a training's run: its folder

_NONE_NAMED = (
    "no {key} is named; give one of: {group}=<option> (kurve list model shows them), {key}.path=<hub id or folder>, "
    "{key}.from_run=<run id, fingerprint or folder of a training>"
)
_ADAPTER = "adapter_config.json"


def local(
    *,
    path: str | None = None,
    from_run: str | int | None = None,
    step: int | None = None,
    models: str = "",
    name: str | None = None,
    revision: str = "",
    dtype: str = "auto",
    context: int | None = None,
    lora: str = "",
) -> Model:
    """A model by its path, or by the training that made it.

    A training's checkpoints share its initial model's context and type of numbers unless others are given; those of a
    LoRA training are the initial model with the adapter of that step.

    Args:
        path: hub id or folder.
        from_run: run id, run URL, fingerprint or folder of a training, which is looked for in the folder `models`.
        step: of the training; None takes its result.
        name: label; None takes the path, or `<training>@<step>`.
        revision: hub commit or tag; for a local folder the digest of its files is taken.
        dtype: type of the weights when sampling.
        context: tokens; None takes the model's own limit.
        lora: path of an adapter.

    Raises:
        ConfigError: no model or two are named, or there is no such training or step.
        TrainingError: the training's record is damaged.
    """
    if from_run is None:
        if step is not None:
            raise ConfigError(f"model.step={step} needs the training it is a step of: model.from_run=...")
        if not path:
            raise ConfigError(_NONE_NAMED.format(key="model", group="model"))
        return Model(name or path, path, revision=revision, dtype=dtype, context=context, lora=lora)
    if given := [key for key, value in (("path", path), ("revision", revision), ("lora", lora)) if value]:
        raise ConfigError(f"model.from_run={from_run} names the weights already; leave out model.{given[0]}")
    folder, record = training_record.find(Path(models), str(from_run))
    weights, at = training_record.step_folder(folder, record, step)
    adapter = (weights / _ADAPTER).is_file()
    return Model(
        name=name or f"{record.name}@{at}",
        path=record.base.path if adapter else str(weights),
        revision=record.base.revision if adapter else "",
        dtype=record.base.dtype if dtype == "auto" else dtype,
        context=record.base.context if context is None else context,
        lora=str(weights) if adapter else "",
    )


def trained(*, experiment: str, seed: int, models: str, name: str | None = None) -> Model:
    """The result of `kurve train experiment=...`, which is run first where it was not done yet.

    Args:
        experiment: an overlay of `conf/experiment/`.
        seed: of the training.
        models: folder of the trainings.
        name: label; None takes `<training>@<step>`.

    Raises:
        TrainingError: the training failed.
    """
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    words = ["train", f"experiment={experiment}", f"seed={seed}", f"paths.models={quoted(models)}"]
    words += [f"tracker={choices['tracker']}"] if choices.get("tracker") else []
    with tempfile.TemporaryDirectory(prefix="kurve-") as folder:
        result = Path(folder) / "made"
        command = [sys.executable, "-m", "kurve.cli", *words]
        code = subprocess.run(command, env=environment(result), stdout=sys.stderr, check=False)
        made = read_made(result)
    if code.returncode or made is None:
        raise TrainingError(
            f"the model of experiment={experiment} could not be trained: {shlex.join(['kurve', *words])}"
        )
    return local(from_run=made.folder, models=models, name=name)


def build_model(cfg: DictConfig, key: str = "model") -> Model:
    """The model that the node `key` of the config describes.

    A run that no training here remembers is looked up with the tracker, if the command has one.

    Raises:
        ConfigError: none is named, a setting is wrong, or there is no such training or step.
    """
    node = cfg.get(key)
    if node is None or "_target_" not in node or ("from_run" in node and not node.path and node.from_run is None):
        raise ConfigError(_NONE_NAMED.format(key=key, group="model" if key == "model" else f"model@{key}"))
    if node.get("from_run") is not None:
        node = copy.deepcopy(node)
        node.from_run = str(_training(cfg, str(node.from_run)))
    model: Model = build(node, key)
    return model


def _training(cfg: DictConfig, reference: str) -> Path:
    """The folder of a training, by what is on this disk, else by what its tracked run says."""
    try:
        return training_record.find(Path(cfg.paths.models), reference)[0]
    except ConfigError as error:
        if cfg.get("tracker") is None or "/" in reference:
            raise
        tracker: Tracker = build(cfg.tracker, "tracker")
        try:
            folder = tracker.tags(reference).get(FOLDER_TAG, "")
        except TrackingError:
            raise error from None
        if not folder:
            raise error
        if training_record.read(Path(folder)) is None:
            raise ConfigError(
                f"from_run={reference} was trained into {folder}, which is not on this machine; copy the folder and "
                "name it: model.from_run=<folder>"
            ) from error
        return Path(folder)


def with_name(cfg: DictConfig, model: Model, key: str = "model") -> DictConfig:
    """The config with the label that the model got, so that what is recorded names it."""
    if cfg[key].get("name", model.name) == model.name:
        return cfg
    named = copy.deepcopy(cfg)
    named[key].name = model.name
    return named
