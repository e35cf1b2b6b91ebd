"""What a registry is told of a trained model: where its weights are, which ones they are, where they come from."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from kurve import training_record
from kurve.errors import ConfigError, DataError
from kurve.tracking import ModelInfo, Registry, Tracker


def trained_model(
    folder: Path,
    *,
    name: str,
    step: int | None = None,
    evaluations: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    upload: bool = False,
) -> ModelInfo:
    """A training's model as `Registry.register` takes it; all its weights are read once.

    Args:
        folder: of the training.
        name: of the registered model.
        step: of the training; None takes its result.
        evaluations: ids of the runs that measured it.
        tags: more than the training's own, such as `kurve.role`; they win.
        upload: the registry gets a copy of the weights.

    Raises:
        ConfigError: the folder holds no training, or it saved nothing at that step.
        DataError: the weights are gone or cannot be read.
        TrainingError: the training's record is damaged.
    """
    record = training_record.read(folder)
    if record is None:
        raise ConfigError(f"{folder} holds no training ({training_record.RECORD}); give the folder of one")
    weights, at = training_record.step_folder(folder, record, step)
    origin = {
        "kurve.algorithm": record.algorithm,
        "kurve.base": record.base.name,
        "kurve.fingerprint": record.fingerprint,
        "kurve.training": str(folder.absolute()),
    }
    return ModelInfo(
        name=name,
        path=str(weights.absolute()),
        sha256=files_sha256(weights),
        step=at,
        run_id=record.run_id,
        evaluations=tuple(evaluations),
        tags={**origin, **record.tags, **(tags or {})},
        upload=upload,
    )


def registry_of(cfg: DictConfig, tracker: Tracker) -> Registry | None:
    """Where `register` of the config puts the model; None if it is not set.

    Raises:
        ConfigError: it is no name, `upload` is no choice, or the tracker keeps no registry.
    """
    if not isinstance(cfg.upload, bool):
        raise ConfigError(f"upload is {cfg.upload!r}; expected true or false")
    if cfg.register is None:
        if cfg.upload:
            raise ConfigError("upload=true copies the weights of a registered model; name it with register=<name>")
        return None
    if not isinstance(cfg.register, str) or not cfg.register.strip():
        raise ConfigError(f"register is {cfg.register!r}; expected the name of a registered model, or null")
    registry = tracker.registry()
    if registry is None:
        raise ConfigError(
            f"register={cfg.register} needs a tracker with a model registry: tracker=mlflow, or leave it out"
        )
    return registry


def files_sha256(folder: Path) -> str:
    """sha256 over the names and contents of all files in a folder and below, 64 hex digits.

    A copy can be checked without kurve; in its folder the same comes from
    `find . -xtype f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum`.
    Links to files are followed, links to folders are not.

    Raises:
        DataError: there is no such folder, it holds no files, or one cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; the weights of a model to register have to be there")
    files = {os.fsencode(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    if not files:
        raise DataError(f"{folder} holds no files; give the folder of a model's weights")
    whole = hashlib.sha256()
    for name, path in sorted(files.items()):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}; make it readable") from error
        whole.update(digest.encode("ascii") + b"  " + name + b"\n")
    return whole.hexdigest()
