"""Tags each MLflow run that is started inside a Hydra job with the job's choices, and with kurve's study and sweep.

MLflow loads this module on `import mlflow`, in every program of an environment that has kurve installed. So it
imports nothing heavy: whether a Hydra job is running is read from what the program itself has imported.
"""

import os
import re
import sys

MAX_TAG = 8000  # characters; MLflow cuts longer values without a mark

ENVIRONMENT_TAGS = {
    "KURVE_STUDY_ID": "kurve.study",
    "KURVE_SWEEP_ID": "kurve.sweep",
    "KURVE_SWEEP_JOB": "kurve.sweep.job",
    "KURVE_STAGE": "kurve.stage",
    "KURVE_KIND": "kurve.kind",
    "KURVE_BASE_RUN_ID": "kurve.base_run_id",
}

_SWEEP = re.compile(r"[\w.-]{1,80}", re.ASCII)  # a name that can be part of a tag's

# As `kurve.commands.provenance` blots settings out; that module is too heavy to be imported here.
_NAME = r"[\w-]*(?:api_?key|access_key|private_key|token|password|passwd|secret|credentials?)"
_SECRET = re.compile(rf"{_NAME}$", re.IGNORECASE)
_INSIDE = re.compile(rf"({_NAME}['\"]?\s*:\s*)('[^']*'|\"[^\"]*\"|[^,}}\]\s]+)", re.IGNORECASE)  # of {api_key: ...}
_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s/@]+@")  # of an address


class KurveRunContext:
    """An `mlflow.run_context_provider`: silent outside of Hydra jobs and kurve studies.

    It does not derive from MLflow's abstract class, which adds nothing: importing that here loads the registry, which
    loads this module again before the class exists, and MLflow would drop the provider with a warning.
    """

    def in_context(self) -> bool:
        """Whether there is anything to tag."""
        return bool(self.tags())

    def tags(self) -> dict[str, str]:
        """`kurve.study`, `kurve.sweep`, ... from the environment; `hydra.job.*` and `hydra.choice.<group>`.

        Values of overrides whose names say that they are secret are masked, and passwords in addresses.
        """
        found = {tag: os.environ[name] for name, tag in ENVIRONMENT_TAGS.items() if os.environ.get(name)}
        if "kurve.sweep.job" in found and _SWEEP.fullmatch(found.get("kurve.sweep", "")):
            found[f"kurve.sweeps.{found['kurve.sweep']}"] = found["kurve.sweep.job"]
        return {name: value[:MAX_TAG] for name, value in (found | _hydra_tags()).items()}


def _hydra_tags() -> dict[str, str]:
    module = sys.modules.get("hydra.core.hydra_config")
    config = getattr(module, "HydraConfig", None)
    if config is None or not config.initialized():
        return {}
    hydra = config.get()
    tags = {
        "hydra.job.name": str(hydra.job.name),
        "hydra.job.overrides": " ".join(_masked(str(override)) for override in hydra.overrides.task),
    }
    for name in ("num", "id"):  # only known inside a sweep
        if not _is_missing(hydra.job, name):
            tags[f"hydra.job.{name}"] = str(hydra.job[name])
    choices = {str(group): str(option) for group, option in hydra.runtime.choices.items()}
    tags |= {f"hydra.choice.{group}": option for group, option in choices.items() if not group.startswith("hydra/")}
    return {name: value for name, value in tags.items() if value}


def _is_missing(node: object, name: str) -> bool:
    omegaconf = sys.modules["omegaconf"]  # Hydra is loaded, hence so is this
    return bool(omegaconf.OmegaConf.is_missing(node, name)) or getattr(node, name, None) is None


def _masked(override: str) -> str:
    key, separator, value = override.partition("=")
    if separator and _SECRET.search(key):
        return f"{key}=***"
    return f"{key}{separator}" + _PASSWORD.sub(r"\1***@", _INSIDE.sub(r"\1***", value))
