"""Turn the config of `evaluate` and `sample` into a plan, refusing what cannot work before anything expensive."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kurve.benchmarks.rows import Benchmark
from kurve.commands.build import build, plain, target
from kurve.commands.models import build_model
from kurve.errors import ConfigError
from kurve.prompts import Template
from kurve.samplers.checkpoints import local_digest
from kurve.types import Decoding, Model, Prompt, SampleRequest, SamplingSpec

MAX_SAMPLES = 100_000  # a problem; the estimator is exact up to here
MAX_TEMPERATURE = 100.0  # uniform for any vocabulary by then
_SEED_BITS = 31
_NOT_DECODING = ("adaptive", "match_entropy")  # beginnings of keys of `sampling`


@dataclass(frozen=True, slots=True)
class Plan:
    """What to draw: the problems, how they are asked, and everything that addresses the store."""

    benchmark: Benchmark
    prompts: tuple[Prompt, ...]  # one a problem, in the benchmark's order
    template: Template
    model: Model
    decoding: Decoding
    spec: SamplingSpec
    num_samples: int
    seed: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the problems, in the benchmark's order."""
        return tuple(problem.id for problem in self.benchmark.problems)

    def requests(self, missing: Mapping[str, Sequence[int]]) -> Iterator[SampleRequest]:
        """One request for each problem that lacks samples, in the benchmark's order."""
        for prompt in self.prompts:
            if indices := missing.get(prompt.problem_id):
                yield SampleRequest(prompt, tuple(indices), problem_seed(self.seed, prompt.problem_id))


def make_plan(cfg: DictConfig) -> Plan:
    """Build and check all parts of the config that decide which samples are drawn.

    Raises:
        ConfigError: a setting is wrong or contradicts another.
        DataError: the benchmark's data is malformed.
    """
    seed = whole(cfg.seed, "seed", least=0)
    decoding = decoding_of(cfg)
    template: Template = build(cfg.prompt, "prompt")
    decoding = dataclasses.replace(decoding, stop=tuple(dict.fromkeys((*decoding.stop, *template.stop))))
    num_samples = whole(cfg.num_samples, "num_samples", least=1, most=MAX_SAMPLES)
    if decoding.temperature == 0 and num_samples > 1:
        raise ConfigError(
            f"sampling.temperature is 0 and num_samples is {num_samples}: greedy decoding draws the same sample "
            "each time; set num_samples=1 or a temperature above 0"
        )
    model = with_local_revision(checked(build_model(cfg)))
    benchmark: Benchmark = build(cfg.benchmark, "benchmark")
    return Plan(
        benchmark=benchmark,
        prompts=tuple(template.render(problem) for problem in benchmark.problems),
        template=template,
        model=model,
        decoding=decoding,
        spec=_spec(model, benchmark, template, decoding, engine=_engine(cfg.sampler), seed=seed),
        num_samples=num_samples,
        seed=seed,
    )


def decoding_of(cfg: DictConfig) -> Decoding:
    """How tokens are drawn: `sampling` without what says how many samples are, and how their temperature is found.

    Raises:
        ConfigError: a setting is wrong.
    """
    settings = {key: value for key, value in plain(cfg.sampling).items() if not key.startswith(_NOT_DECODING)}
    found: Decoding = build(OmegaConf.create(settings), "sampling")
    found = dataclasses.replace(found, stop=tuple(found.stop))
    _check_decoding(found)
    return found


def checked(model: Model, key: str = "model") -> Model:
    """The model, if its settings can be those of one; `key` is what it is called on the command line.

    Raises:
        ConfigError: an empty name or path, a context below 1, or an adapter that is not there.
    """
    if not model.name or not model.path:
        raise ConfigError(f"{key}.name and {key}.path must not be empty; {key}.path=<hub id or folder>")
    if model.context is not None:
        whole(model.context, f"{key}.context", least=1)
    adapter = Path(model.lora).expanduser()
    if model.lora and not adapter.is_dir() and (adapter.is_absolute() or model.lora.startswith(".")):
        raise ConfigError(f"{key}.lora={model.lora}: no such folder; give the folder of a LoRA adapter, or a hub id")
    return model


def problem_seed(seed: int, problem_id: str) -> int:
    """Seed of a problem's sample 0: its other samples count up from it, in any store, engine and order."""
    digest = hashlib.sha256(f"{seed}:{problem_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)


def with_local_revision(model: Model) -> Model:
    """The model with the digest of its files as revision when it is a local folder, absolute paths included.

    A checkpoint that is overwritten in place thus gets a store of its own.
    """
    if not Path(model.path).expanduser().is_dir():
        return model
    folder = Path(model.path).expanduser().absolute()
    return dataclasses.replace(model, path=str(folder), revision=local_digest(folder))


def _engine(node: DictConfig) -> str:
    """The engine's name; a sampler that hands its work to another's engines draws the samples of that one."""
    if isinstance(node.get("engine"), DictConfig):
        return _engine(node.engine)
    sampler = target(node, "sampler")
    if not isinstance(getattr(sampler, "engine", None), str):
        raise ConfigError(f"sampler._target_ {sampler!r} is no sampler: it names no engine; see docs/adding.md")
    return str(sampler.engine)


def _spec(
    model: Model, benchmark: Benchmark, template: Template, decoding: Decoding, *, engine: str, seed: int
) -> SamplingSpec:
    return SamplingSpec(
        model=model.path,
        model_revision=model.revision,
        lora=lora_address(model),
        benchmark=benchmark.name,
        benchmark_revision=benchmark.revision,
        prompt=template.name,
        prompt_digest=template.digest,
        engine=engine,
        seed=str(seed),
        **{f.name: getattr(decoding, f.name) for f in dataclasses.fields(decoding)},
    )


def lora_address(model: Model) -> str:
    """The model's adapter as a spec names it, with the digest of its files; empty without one."""
    return model.lora and f"{model.lora}@{_adapter_digest(model.lora)}"


def _adapter_digest(path: str) -> str:
    folder = Path(path).expanduser()
    return local_digest(folder) if folder.is_dir() else "hub"


def _check_decoding(decoding: Decoding) -> None:
    """Refuse settings that no engine can follow."""
    ranges = {
        "temperature": (decoding.temperature, 0.0, MAX_TEMPERATURE, f"from 0 to {MAX_TEMPERATURE:g}"),
        "top_p": (decoding.top_p, 0.0, 1.0, "above 0, at most 1"),
        "min_p": (decoding.min_p, 0.0, 1.0, "from 0 to 1"),
    }
    for key, (value, low, high, expected) in ranges.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"sampling.{key} is {value!r}; it must be a number {expected}")
    if decoding.top_p == 0:
        raise ConfigError("sampling.top_p is 0, which leaves no token; use 1 to switch it off")
    whole(decoding.top_k, "sampling.top_k", least=0)
    whole(decoding.max_tokens, "sampling.max_tokens", least=1)
    for stop in decoding.stop:
        if not isinstance(stop, str) or not stop:
            raise ConfigError(f"sampling.stop holds {stop!r}; it must be a list of non-empty strings")


def whole(value: object, key: str, *, least: int, most: int | None = None) -> int:
    """The value of a setting that must be a whole number.

    Raises:
        ConfigError: it is none, or out of range.
    """
    limit = f"from {least} to {most:,}" if most is not None else f"{least} or more"
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        shown = "null" if value is None else repr(value)
        raise ConfigError(f"{key} is {shown}; it must be a whole number, {limit}")
    return value
