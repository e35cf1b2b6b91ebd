"""Turn the config of `train` into a plan: what is trained on what, and what of it decides the result."""

import copy
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from kurve.algorithms import Algorithm
from kurve.benchmarks.rows import Benchmark
from kurve.commands import provenance
from kurve.commands.build import build, plain
from kurve.commands.models import build_model
from kurve.commands.overlap import Asked
from kurve.commands.sampling_plan import checked, whole, with_local_revision
from kurve.commands.stored import find_store
from kurve.demonstrations import Demonstrations
from kurve.errors import ConfigError
from kurve.prompts import Template
from kurve.training_record import fingerprint
from kurve.types import Model, Problem, Prompt
from kurve.verifiers import Verifier

# Arguments of TRL that change what is kept, shown or how fast it goes, but not the model.
_ASIDE = (
    "logging_", "log_", "save_", "hub_", "push_to_hub", "report_to", "run_name", "disable_tqdm", "dataloader_num",
    "dataloader_pin", "dataloader_persistent", "dataloader_prefetch", "ddp_timeout", "vllm_server_",
    "vllm_group_port", "vllm_gpu_memory", "num_completions_to_print", "skip_memory_metrics",
    "include_num_input_tokens_seen", "torch_empty_cache_steps",
)  # fmt: skip
_ASIDE_OF_ALGORITHM = ("rollouts_every",)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to train, on what, and how."""

    name: str
    algorithm_name: str
    algorithm: Algorithm
    args: Mapping[str, Any]  # TRL's, shared by all algorithms
    own_args: Mapping[str, Any]  # TRL's, the algorithm's own: they win
    lora: Mapping[str, Any] | None
    model: Model  # initial weights
    teacher: Model | None
    template: Template
    benchmark: Benchmark | None  # what is solved in training
    demonstrations: Demonstrations | None  # what is imitated
    verifier: Verifier | None
    seed: int
    tags: Mapping[str, str]  # of the run, given by the user
    recipe: Mapping[str, Any]  # all that decides the result

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the recipe."""
        return fingerprint(self.recipe)

    @property
    def all_args(self) -> dict[str, Any]:
        """TRL's arguments: the shared ones and, over them, the algorithm's own."""
        return {**self.args, **self.own_args}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is solved in training."""
        return self.benchmark.problems if self.benchmark else ()

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """One prompt a problem."""
        return tuple(self.template.render(problem) for problem in self.problems)

    @property
    def asked(self) -> Asked:
        """Everything the training asks."""
        if self.demonstrations is not None:
            return Asked(self.demonstrations.questions, self.demonstrations.verbatim)
        return Asked([(problem.id, problem.question) for problem in self.problems])

    @property
    def data(self) -> dict[str, Any]:
        """Name, source, digest and size of what is trained on."""
        if self.demonstrations is not None:
            held = self.demonstrations
            about = {"name": held.name, "source": held.source, "digest": held.digest, "size": len(held.items)}
            return about | ({"teacher": held.teacher} if held.teacher else {})
        assert self.benchmark is not None
        digest = provenance.problems_digest(self.problems)
        return {
            "name": self.benchmark.name, "source": self.benchmark.source, "digest": digest, "size": len(self.problems)
        }  # fmt: skip


def rank() -> int:
    """Number of this process among those that train together, as `accelerate launch` and `torchrun` give it."""
    return int(os.environ.get("RANK", "0"))


def processes(cfg: DictConfig | None = None) -> int:
    """How many processes train together: those at work or, before they are started, those that the config asks for."""
    asked = None if cfg is None else cfg.get("accelerate")
    return int(os.environ.get("WORLD_SIZE") or (1 if asked is None else asked.num_processes))


def make_training_plan(cfg: DictConfig) -> TrainingPlan:
    """Build all parts of a training; `refuse` of the command checks what takes longer.

    Raises:
        ConfigError: a setting is wrong or contradicts another.
        DataError: the problems or demonstrations are malformed.
    """
    seed = whole(cfg.seed, "seed", least=0)
    model = with_local_revision(checked(build_model(cfg)))
    if model.lora:
        raise ConfigError(f"model.lora={model.lora}: training starts from whole weights; merge the adapter first")
    teacher = None
    if cfg.get("teacher") is not None:
        teacher = with_local_revision(checked(build_model(cfg, "teacher"), "teacher"))
    template: Template = build(cfg.prompt, "prompt")
    algorithm: Algorithm = build(cfg.algorithm, "algorithm", **({"teacher": teacher} if teacher else {}))
    benchmark, demonstrations, verifier = _data(cfg, algorithm.learns_from, template)
    name = HydraConfig.get().runtime.choices["algorithm"]
    plan = TrainingPlan(
        name=label(cfg.name or name),
        algorithm_name=name,
        algorithm=algorithm,
        args=_mapping(cfg.training, "training"),
        own_args=_mapping(cfg.algorithm.get("args") or OmegaConf.create({}), "algorithm.args"),
        lora=None if cfg.lora is None else _mapping(cfg.lora, "lora"),
        model=model,
        teacher=teacher,
        template=template,
        benchmark=benchmark,
        demonstrations=demonstrations,
        verifier=verifier,
        seed=seed,
        tags=provenance.given_tags(cfg),
        recipe={},
    )
    return dataclasses.replace(plan, recipe=_recipe(cfg, plan))


def label(name: object, key: str = "name") -> str:
    """The name, if it can be part of a folder's name; `key` is what it is called on the command line.

    Raises:
        ConfigError: it cannot.
    """
    text = str(name)
    if not text or len(text) > 80 or any(not (char.isalnum() or char in "._-") for char in text) or text[0] in "._-":
        raise ConfigError(
            f"{key}={text!r}: expected up to 80 letters, digits, '.', '_' and '-', beginning with one of the first two"
        )
    return text


def _data(
    cfg: DictConfig, learns_from: str, template: Template
) -> tuple[Benchmark | None, Demonstrations | None, Verifier | None]:
    """What the algorithm learns from: problems and a verifier, problems alone, or demonstrations."""
    chosen = HydraConfig.get().runtime.choices
    data: Demonstrations | None = build(_with_store(cfg), "data", template=template)
    if learns_from == "demonstrations":
        if data is None:
            raise ConfigError(
                f"algorithm={chosen['algorithm']} learns from demonstrations; give a file: data=jsonl data.path=..., "
                "or a teacher's verified samples: data=samples data.samples=<store>"
            )
        return None, data, None
    if data is not None:
        raise ConfigError(
            f"algorithm={chosen['algorithm']} takes no demonstrations, and data={chosen['data']} gives some; "
            "leave it out"
        )
    if cfg.get("benchmark") is None:
        raise ConfigError(
            f"algorithm={chosen['algorithm']} needs problems: benchmark=<option>; kurve list benchmark shows them"
        )
    benchmark: Benchmark = build(cfg.benchmark, "benchmark")
    verifier = build(cfg.verifier, "verifier") if learns_from == "verdicts" else None
    return benchmark, None, verifier


def _with_store(cfg: DictConfig) -> DictConfig:
    """The data node with the folder of the store it names by fingerprint."""
    node: DictConfig = copy.deepcopy(cfg.data)
    if node.get("samples") is not None:
        node.samples = str(find_store(cfg, str(node.samples)))
    return node


def _recipe(cfg: DictConfig, plan: TrainingPlan) -> dict[str, Any]:
    """All that decides the result, as plain values; where it is kept, shown and logged is left out."""
    algorithm = _mapping(cfg.algorithm, "algorithm")
    algorithm.pop("args", None)
    args = {key: value for key, value in plan.all_args.items() if not key.startswith(_ASIDE)}
    recipe: dict[str, Any] = {
        "model": {"path": plan.model.path, "revision": plan.model.revision},
        "algorithm": {key: value for key, value in algorithm.items() if key not in _ASIDE_OF_ALGORITHM},
        "args": args,
        "lora": plan.lora,
        "data": plan.data["digest"],
        "prompt": plan.template.digest,
        "verifier": plan.verifier.fingerprint if plan.verifier else None,
        "seed": plan.seed,
        "processes": processes(cfg),
    }
    if Path(plan.model.path).is_dir():
        recipe["model"].pop("path")  # the digest of its files is its identity, wherever they are
    if plan.teacher is not None:
        recipe["teacher"] = {"path": plan.teacher.path, "revision": plan.teacher.revision}
    return recipe


def _mapping(node: Any, key: str) -> dict[str, Any]:
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"{key} is {node!r}; expected settings, as {key}.<name>=<value>")
    found: dict[str, Any] = plain(node)
    return found
