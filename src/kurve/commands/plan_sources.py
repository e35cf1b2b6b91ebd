"""Where `kurve plan` gets from what a sample costs: a setting, a store that was drawn before, or nowhere."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from kurve.commands.sampling_plan import Plan, whole
from kurve.commands.stored import find_evaluated, stored_config
from kurve.errors import ConfigError
from kurve.past_draws import specs, stored_bytes, stored_lengths
from kurve.planning import Amount, Rates, mean_length
from kurve.samplers.checkpoints import is_at_hand
from kurve.samplers.tokens import PromptTokenizer
from kurve.speeds import draw_speed, judge_speed
from kurve.store import SampleStore
from kurve.store.listing import list_verdicts
from kurve.tracking import Tracker
from kurve.types import Model, Prompt, SamplingSpec
from kurve.verifiers import Verifier
from kurve.verifiers.math import MathVerifier

CHARS_A_TOKEN = 3.0  # of mathematics and English, where no tokenizer is at hand
BYTES_A_TOKEN = 1.0  # compressed, sample and verdict: 1,819 worked solutions of MATH500 and GSM8K took 1.04
GRADING_SECONDS = 0.0014  # docs/benchmarks.md: 100,000 answers in 70 s on two processors
TRACKED_SHARE = 1.0  # bytes of samples.parquet and the tables beside it for each stored byte: docs/scale.md
_CHARS_STORED = 3.0  # characters of text for each compressed byte, against the tracker's limit

_NO_LENGTH = "give tokens_per_sample=, lengths_from=<store>, or measure=<samples to draw now>"
_NO_SPEED = "give tokens_per_second=, speed_from=<store>, or measure=<samples to draw now>"


def rates(cfg: DictConfig, plan: Plan, *, tracker: Tracker, verifier: Verifier, judged_by: str) -> Rates:
    """What one sample of this evaluation costs.

    Raises:
        ConfigError: a setting is no such number, or names no store.
        StoreError: a store that is read is damaged.
    """
    speed, gpus = _speed(cfg, plan, tracker)
    lengths, taken_from = _lengths(cfg, plan, tracker)
    price = cfg.gpu_hour_price
    return Rates(
        tokens=lengths,
        tokens_per_second=speed,
        gpus=gpus,
        processes=whole(cfg.num_shards, "num_shards", least=1),
        bytes_per_token=_bytes(taken_from),
        seconds_per_verdict=_judging(cfg, taken_from, verifier, judged_by),
        gpu_hour_price=None if price is None else _number(price, "gpu_hour_price"),
        tracked_share=0.0 if tracker.samples_limit == 0 else TRACKED_SHARE,
    )


def too_many_to_track(tracker: Tracker, stored_bytes_: float | None) -> bool:
    """Whether the samples are probably more than the tracker takes as one file."""
    limit = tracker.samples_limit
    return limit is not None and limit > 0 and (stored_bytes_ or 0.0) * _CHARS_STORED > limit


def prompt_tokens(model: Model, prompts: Sequence[Prompt], weights: Sequence[int]) -> tuple[Amount, Amount]:
    """Tokens of the prompts, each once, and each as often as its weight says.

    Exact with the model's tokenizer, if that is on this machine; otherwise from the number of characters.

    Raises:
        ConfigError: the tokenizer refuses a prompt, as it would when sampling.
    """
    tokenizer = _tokenizer(model)
    if tokenizer is None:
        source = f"estimated: {CHARS_A_TOKEN:g} characters a token, since the model's tokenizer is not on this machine"
        counts = [math.ceil(_characters(prompt) / CHARS_A_TOKEN) for prompt in prompts]
    else:
        source = "counted with the model's tokenizer"
        counts = [len(tokenizer.encode(prompt)) for prompt in prompts]
    repeated = sum(count * weight for count, weight in zip(counts, weights, strict=True))
    return Amount(float(sum(counts)), source=source), Amount(float(repeated), source=source)


@cache
def _tokenizer(model: Model) -> PromptTokenizer | None:
    if not is_at_hand(model):  # asked first, since transformers takes seconds to import
        return None
    try:
        return PromptTokenizer(model, local_only=True)
    except ConfigError:  # its tokenizer is not on this machine, or transformers is not
        return None


def _characters(prompt: Prompt) -> int:
    return len(prompt.text) + sum(len(message.content) for message in prompt.messages)


def _lengths(cfg: DictConfig, plan: Plan, tracker: Tracker) -> tuple[Amount, Path | None]:
    """Mean tokens of a sample, and the store that they were read from, which also tells bytes and verdicts."""
    longest = plan.decoding.max_tokens
    if cfg.lengths_from is not None:
        folder: Path | None = find_evaluated(cfg, "lengths_from", str(cfg.lengths_from), tracker)
    else:
        folder = _alike(cfg, plan)
    if cfg.tokens_per_sample is not None:
        given = _number(cfg.tokens_per_sample, "tokens_per_sample")
        if given > longest:
            raise ConfigError(
                f"tokens_per_sample={given:g} is more than sampling.max_tokens={longest}; no sample is longer than that"
            )
        return Amount(given, at_most=float(longest), source="given"), folder
    if folder is None:
        return Amount(at_most=float(longest), source=_NO_LENGTH), None
    with SampleStore.open_folder(folder) as store:
        found = stored_lengths(store)
        spec = store.spec
    if not found:
        if cfg.lengths_from is not None:
            raise ConfigError(f"lengths_from={cfg.lengths_from}: no sample in {folder} says how many tokens it has")
        return Amount(at_most=float(longest), source=_NO_LENGTH), None
    mean = mean_length(found, plan.ids, longest=longest)
    read = sum(map(len, found.values()))
    source = f"{read:,} samples of {len(found):,} problems in {folder.name}{_unlike(plan.spec, spec)}"
    return Amount(mean.value, mean.low, mean.high, mean.at_most, source), folder


def _alike(cfg: DictConfig, plan: Plan) -> Path | None:
    """The store that tells most of these samples: their own, or one that differs only in how tokens are drawn."""
    same = ("model", "model_revision", "lora", "benchmark", "prompt_digest", "max_tokens", "stop")
    candidates = []
    for folder, spec in specs(Path(cfg.paths.samples)):
        if any(getattr(spec, name) != getattr(plan.spec, name) for name in same):
            continue
        with SampleStore.open_folder(folder) as store:
            count = store.count()
        if count:
            candidates.append((spec == plan.spec, spec.temperature == plan.spec.temperature, count, folder))
    return max(candidates)[-1] if candidates else None


def _unlike(wanted: SamplingSpec, found: SamplingSpec) -> str:
    """In which settings a store differs from the one that is planned, for people."""
    names = ("model", "lora", "benchmark", "prompt", "temperature", "top_p", "max_tokens", "engine", "seed")
    different = [f"{name} {getattr(found, name)}" for name in names if getattr(found, name) != getattr(wanted, name)]
    return f" ({', '.join(different)})" if different else ""


def _speed(cfg: DictConfig, plan: Plan, tracker: Tracker) -> tuple[Amount, int]:
    """Tokens/s of one GPU, and how many of them a process has (0: it draws on a processor)."""
    asked = None if cfg.gpus is None else whole(cfg.gpus, "gpus", least=0)
    own = gpus_of(cfg.sampler) if asked is None else asked
    if cfg.tokens_per_second is not None:
        return Amount(_number(cfg.tokens_per_second, "tokens_per_second"), source="given"), own
    if cfg.speed_from is not None:
        folder: Path | None = find_evaluated(cfg, "speed_from", str(cfg.speed_from), tracker)
    else:
        folder = _as_fast(cfg, plan)
    measured = draw_speed(folder) if folder is not None else None
    if folder is None or measured is None:
        if cfg.speed_from is not None:
            raise ConfigError(
                f"speed_from={cfg.speed_from}: no draw into {folder} is on record, as of imported samples"
            )
        return Amount(source=_NO_SPEED), own
    kinds = ", ".join(kind or "a processor" for kind in measured.gpus) or "unknown hardware"
    drawn_with = stored_config(folder)
    had = gpus_of(drawn_with.sampler) if drawn_with is not None and "sampler" in drawn_with else 1
    on_processor = set(measured.gpus) == {""}
    source = f"{measured.tokens:,} tokens drawn in {measured.seconds:,.0f} s into {folder.name}, on {kinds}"
    each = measured.tokens_per_second / (1 if on_processor else max(had, 1))
    return Amount(each, source=source), 0 if on_processor and asked is None else own


def gpus_of(sampler: DictConfig) -> int:
    """GPUs of one sampling process: those of all its engines, 0 where it is told to draw on the processor."""
    if isinstance(sampler.get("engine"), DictConfig):  # on actors elsewhere
        return gpus_of(sampler.engine) * int(sampler.get("actors", 1))
    if str(sampler.get("device", "auto")).startswith("cpu"):
        return 0
    sizes = (sampler.get("tensor_parallel_size", 1), sampler.get("data_parallel_size", 1))
    return math.prod(size if isinstance(size, int) else 1 for size in sizes)


def _as_fast(cfg: DictConfig, plan: Plan) -> Path | None:
    """The store of the same model and engine on which most time was spent; the evaluation's own comes first."""
    candidates = []
    for folder, spec in specs(Path(cfg.paths.samples)):
        alike = all(getattr(spec, name) == getattr(plan.spec, name) for name in ("model", "lora", "engine"))
        if alike and (speed := draw_speed(folder)) is not None:
            candidates.append((spec == plan.spec, speed.seconds, folder))
    return max(candidates)[-1] if candidates else None


def _bytes(folder: Path | None) -> Amount:
    """Compressed bytes of samples and verdicts for each token."""
    if folder is not None:
        with SampleStore.open_folder(folder) as store:
            lengths = stored_lengths(store)
            tokens = sum(int(one.sum()) for one in lengths.values())
            share = sum(map(len, lengths.values())) / max(store.count(), 1)  # of the samples, whose tokens were read
            judged = max(
                (stored_bytes(folder, f"verdicts-{name}") for name in list_verdicts(folder)),
                default=0,
            )
            if tokens:
                each = (stored_bytes(folder, "samples") + judged) * share / tokens
                return Amount(each, source=f"measured in {folder.name}")
    return Amount(BYTES_A_TOKEN, source="estimated: a byte a token, as worked solutions take compressed")


def _judging(cfg: DictConfig, folder: Path | None, verifier: Verifier, judged_by: str) -> Amount:
    """Seconds of a processor for each verdict."""
    if cfg.seconds_per_verdict is not None:
        return Amount(_number(cfg.seconds_per_verdict, "seconds_per_verdict"), source="given")
    speed = judge_speed(folder, judged_by.partition(".")[0]) if folder is not None else None
    if folder is not None and speed is not None:
        return Amount(speed.seconds_per_verdict, source=f"{speed.verdicts:,} verdicts in {folder.name}")
    if isinstance(verifier, MathVerifier):
        return Amount(GRADING_SECONDS, source="docs/benchmarks.md: 100,000 answers in 70 s on two processors")
    return Amount(source="give seconds_per_verdict=")


def _number(value: object, key: str) -> float:
    """A setting that must be a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        shown = "null" if value is None else repr(value)
        raise ConfigError(f"{key} is {shown}; it must be a number above 0")
    return float(value)
