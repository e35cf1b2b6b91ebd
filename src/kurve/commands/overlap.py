"""Problems that a model would be trained and then evaluated on."""

import copy
import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from kurve.benchmarks.rows import Benchmark
from kurve.commands.build import build, plain
from kurve.errors import ConfigError

_SHORTEST = 40  # characters, normalised, of a question that is looked for inside whole prompts
_SEPARATOR = "\n"  # is in no normalised text


@dataclass(frozen=True, slots=True)
class Asked:
    """What a training asks: (problem id, question) pairs; `verbatim` if the questions are whole prompts."""

    questions: Sequence[tuple[str, str]]
    verbatim: bool = False


def overlapping(asked: Asked, benchmark: Benchmark) -> list[str]:
    """Ids of the benchmark's problems that the training asks too: the same id, or the same question.

    Case, white space and the Unicode form of a question do not count. In whole prompts a question of 40 characters or
    more is looked for anywhere.
    """
    ids = {problem_id for problem_id, _ in asked.questions}
    texts = {normalised(text) for _, text in asked.questions}
    everything = _SEPARATOR.join(sorted(texts)) if asked.verbatim else ""
    found = []
    for problem in benchmark.problems:
        text = normalised(problem.question)
        inside = asked.verbatim and len(text) >= _SHORTEST and text in everything
        if problem.id in ids or text in texts or inside:
            found.append(problem.id)
    return found


def normalised(text: str) -> str:
    """The question without what does not change it: case, white space, Unicode form."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def load_benchmark(choice: Any, key: str) -> Benchmark:
    """A benchmark named on top of the command's own: its name, or {benchmark: name, <setting>: <value>, ...}.

    Raises:
        ConfigError: there is no such benchmark or setting, named with the nearest one.
        DataError: its data is malformed.
    """
    settings = {"benchmark": choice} if isinstance(choice, str) else choice
    if not isinstance(settings, Mapping) or not isinstance(settings.get("benchmark"), str):
        raise ConfigError(f"{key} holds {choice!r}; expected a benchmark's name, or {{benchmark: name, limit: 10}}")
    name, rest = settings["benchmark"], {key: value for key, value in settings.items() if key != "benchmark"}
    known = GlobalHydra.instance().config_loader().get_group_options("benchmark")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
        raise ConfigError(f"{key}: there is no benchmark '{name}'; {hint}")
    cfg = compose("evaluate", overrides=[f"benchmark={name}"])
    node = copy.deepcopy(cfg.benchmark)
    OmegaConf.set_struct(node, False)
    for setting, value in rest.items():
        if setting not in node:
            near = difflib.get_close_matches(str(setting), list(node), n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(map(str, node))}"
            raise ConfigError(f"{key}: benchmark {name} has no setting {setting}; {hint}")
        node[setting] = value
    benchmark: Benchmark = build(node, key)
    return benchmark


def check_overlap(asked: Asked, evaluation: Iterable[Benchmark], *, allowed: bool) -> int:
    """How many problems of the evaluation the training asks; more than none is refused unless `allowed`.

    Raises:
        ConfigError: how many of which benchmark, and the ways out.
    """
    total = 0
    for benchmark in evaluation:
        shared = overlapping(asked, benchmark)
        total += len(shared)
        if shared and not allowed:
            some = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
            raise ConfigError(
                f"{len(shared)} of the {len(benchmark.problems)} problems of {benchmark.name} ({some}) are among those "
                "trained on; what is measured on them says nothing. Train on others (benchmark.fold, benchmark.limit, "
                "data), or set allow_overlap=true, which is kept as a tag of the run"
            )
    return total


def evaluation_benchmarks(cfg: DictConfig) -> list[Benchmark]:
    """The benchmarks that `evaluation` lists.

    Raises:
        ConfigError: it is no list, or one of them is not there.
    """
    chosen = plain(cfg.evaluation) if cfg.evaluation is not None else []
    if not isinstance(chosen, list):
        chosen = [chosen]
    return [load_benchmark(one, "evaluation") for one in chosen]
