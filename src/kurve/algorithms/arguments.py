"""Check TRL's keyword arguments without importing TRL: names, the ones that other settings decide, and sizes."""

import ast
import difflib
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kurve.errors import ConfigError

_MODULES = {  # where a class of this name, or a base of one, is written
    "GRPOConfig": ("trl", "trainer/grpo_config.py"),
    "RLOOConfig": ("trl", "trainer/rloo_config.py"),
    "SFTConfig": ("trl", "trainer/sft_config.py"),
    "DistillationConfig": ("trl", "trainer/distillation_config.py"),
    "_BaseConfig": ("trl", "trainer/base_config.py"),
    "TrainingArguments": ("transformers", "training_args.py"),
}
_OURS = {
    "output_dir": "paths.models",
    "seed": "seed",
    "data_seed": "seed",
    "report_to": "tracker",
    "run_name": "tracker",
    "resume_from_checkpoint": "kurve, which goes on from the last checkpoint of the same training by itself",
    "push_to_hub": "nothing here (push model/ yourself: hf upload)",
}


def check_arguments(config: str, args: Mapping[str, Any], where: str = "algorithm.args") -> None:
    """Refuse arguments that TRL's class `config` does not have, or that another setting of ours decides.

    Args:
        config: name of the class, such as GRPOConfig.
        args: keyword arguments for it.
        where: what the arguments are called on the command line.

    Raises:
        ConfigError: the name, and the nearest one that exists or the setting to use.
    """
    known = argument_names(config)
    for name in args:
        if name in _OURS:
            raise ConfigError(f"{where}.{name} is decided by {_OURS[name]}; leave it out of {where}")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"see trl.{config} for the names"
            raise ConfigError(f"{where}.{name}: trl.{config} has no such argument; {hint}")


@cache
def argument_names(config: str) -> tuple[str, ...]:
    """Names of the arguments that a configuration class of TRL takes, its own first, then the inherited ones.

    They are read from the installed sources: importing them takes ten seconds and more.

    Raises:
        ConfigError: TRL is not installed or its sources are not laid out as in 1.16.
    """
    if config not in _MODULES:
        raise ConfigError(f"the arguments of {config} are unknown; expected one of {', '.join(_MODULES)}")
    package, path = _MODULES[config]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"training needs {package}: pip install 'kurve[train]'")
    source = Path(spec.origin).parent / path
    tree = ast.parse(source.read_text(encoding="utf-8")) if source.is_file() else ast.Module([], [])
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == config:
            fields = [name for item in node.body if (name := _field_name(item))]
            bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in _MODULES]
            inherited = [name for base in bases for name in argument_names(base)]
            return tuple(dict.fromkeys([*fields, *inherited]))
    raise ConfigError(f"cannot read the arguments of {config} from {source}; kurve knows trl 1.16 (pip show trl)")


def check_batch(args: Mapping[str, Any], processes: int, where: str = "algorithm.args") -> None:
    """Refuse batch sizes that do not hold whole groups of `num_generations` responses.

    TRL generates per_device_train_batch_size * processes * steps_per_generation responses at a time (by default
    steps_per_generation = gradient_accumulation_steps) and compares the responses of each group.

    Raises:
        ConfigError: the sizes, and the nearest ones that fit.
    """
    group = _whole(args, "num_generations", 8, where)
    if group < 2:
        raise ConfigError(f"{where}.num_generations={group}; responses are compared within a group: give 2 or more")
    each = _whole(args, "per_device_train_batch_size", 8, where) * processes
    accumulation = _whole(args, "gradient_accumulation_steps", 1, where)
    batch = _whole(args, "generation_batch_size", 0, where)
    if not batch:
        batch = each * _whole(args, "steps_per_generation", accumulation, where)
    elif args.get("steps_per_generation") is not None:
        raise ConfigError(f"{where}: give generation_batch_size or steps_per_generation, not both")
    elif batch % each:
        raise ConfigError(
            f"{where}.generation_batch_size={batch} is no multiple of per_device_train_batch_size * processes = {each}"
        )
    if batch % group:
        fits = ", ".join(str(n) for n in range(2, batch + 1) if batch % n == 0)
        raise ConfigError(
            f"{where}.num_generations={group} does not divide the {batch} responses of a generation "
            f"(per_device_train_batch_size * {processes} process(es) * steps_per_generation); "
            f"choose num_generations among {fits}, or a batch that is a multiple of {group}"
        )


def one_update_a_generation(args: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """The arguments with the `gradient_accumulation_steps` that make one update of `generation_batch_size` responses.

    So the same settings train the same way on any number of processes. Given steps stay; without a generation's size
    there is nothing to add.
    """
    batch, each = args.get("generation_batch_size"), int(args.get("per_device_train_batch_size") or 8) * processes
    if batch is None or args.get("gradient_accumulation_steps") is not None:
        return dict(args)
    return {**args, "gradient_accumulation_steps": max(1, int(batch) // each)}


def prompts_a_generation(args: Mapping[str, Any], processes: int) -> int:
    """Distinct prompts that one generation holds, for sizes that `check_batch` has passed."""
    each = int(args.get("per_device_train_batch_size") or 8) * processes
    steps = args.get("steps_per_generation") or args.get("gradient_accumulation_steps") or 1
    batch = int(args.get("generation_batch_size") or each * int(steps))
    return batch // int(args.get("num_generations") or 8)


def _whole(args: Mapping[str, Any], name: str, default: int, where: str) -> int:
    value = args.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{where}.{name}={value!r}; expected a whole number of at least 1")
    return value


def _field_name(item: ast.stmt) -> str:
    """Name of the dataclass field that a statement declares; empty where it declares none."""
    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
        return "" if "ClassVar" in ast.unparse(item.annotation) else item.target.id
    return ""
