"""`kurve plan`: what evaluations will cost, from what is known of their samples; draws nothing unless told to."""

import dataclasses
import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from kurve.commands.build import build
from kurve.commands.evaluate import planned
from kurve.commands.plan_show import alone, together
from kurve.commands.plan_sources import prompt_tokens, rates, too_many_to_track
from kurve.commands.sample import checked_sampler, open_store, stop_on_sigterm
from kurve.commands.sampling_plan import Plan, whole
from kurve.commands.stages import draw, verdict_set
from kurve.errors import ConfigError
from kurve.figures.files import write_whole
from kurve.metrics.bootstrap import expected_half_width
from kurve.planning import Amount, Costs, Work, costs
from kurve.planning import as_json as costs_json
from kurve.progress import Progress
from kurve.store import SampleStore, VerdictStore, fingerprint
from kurve.store.shards import reading
from kurve.store.slices import missing as missing_of_all
from kurve.tracking import Tracker
from kurve.types import Outcome
from kurve.verifiers import Verifier

FORMAT = 1  # of the numbers as JSON


@dataclasses.dataclass(frozen=True, slots=True)
class _Stored:
    """What the evaluation's own store holds."""

    samples: int = 0
    missing: tuple[int, ...] = ()  # samples still to be drawn, of each problem
    unjudged: int = 0  # stored samples without a verdict
    solved: tuple[float, ...] = ()  # fraction of each judged problem


def main(cfg: DictConfig) -> None:
    """Show what one evaluation will cost.

    Raises:
        KurveError: settings that cannot work, as `kurve evaluate` refuses them; with `measure`, a failing engine.
    """
    output = _output(cfg)
    if whole(cfg.measure, "measure", least=0):
        _measure(cfg)
    found = _costs(cfg, "")
    Console(highlight=False).print(alone(found))
    _write(output, [found])


def main_of_all(jobs: Iterable[tuple[str, DictConfig]]) -> None:
    """Show what several evaluations will cost, and all of them together.

    Raises:
        KurveError: as `main`, and for `measure`, which is for one evaluation at a time.
    """
    found: list[Costs] = []
    output = None
    for label, cfg in jobs:
        output = _output(cfg)
        if whole(cfg.measure, "measure", least=0):
            raise ConfigError(f"measure={cfg.measure} draws for one evaluation at a time; leave -m out, or measure")
        found.append(_costs(cfg, label))
    Console(highlight=False).print(together(found))
    _write(output, found)


def _costs(cfg: DictConfig, label: str) -> Costs:
    rule, _, plan = planned(cfg)
    verifier: Verifier = build(cfg.verifier, "verifier")
    tracker: Tracker = build(cfg.tracker, "tracker")
    build(cfg.sampler, "sampler", model=plan.model, decoding=plan.decoding, log=None)
    judged_by = verdict_set(verifier, plan.benchmark)
    notes = []
    if rule is not None:
        notes.append("sampling.adaptive stops problems that have enough: all of this is at most")
    if cfg.sampling.get("match_entropy") is not None:
        notes.append(
            "sampling.match_entropy draws pilots to find the temperature: they come on top; samples at it are not seen"
        )
    work = _work(cfg, plan, judged_by, label=label)
    found = costs(work, rates(cfg, plan, tracker=tracker, verifier=verifier, judged_by=judged_by))
    if too_many_to_track(tracker, found.stored_bytes.value):
        notes.append("the samples are more than the tracker takes as one file: they stay in the store")
        none = Amount(0.0, source="more than the tracker takes as one file")
        found = dataclasses.replace(found, tracked_bytes=none)
    return dataclasses.replace(found, work=dataclasses.replace(work, notes=tuple(notes)))


def _work(cfg: DictConfig, plan: Plan, judged_by: str, *, label: str) -> Work:
    stored = _stored(cfg, plan, judged_by)
    lacking = [(prompt, count) for prompt, count in zip(plan.prompts, stored.missing, strict=True) if count]
    once, each = prompt_tokens(plan.model, [prompt for prompt, _ in lacking], [count for _, count in lacking])
    missing = sum(stored.missing)
    seen = len(stored.solved) > 1
    source = "from the spread between problems, as judged so far" if seen else "at most, whatever the problems"
    width = expected_half_width(stored.solved, len(plan.ids))
    return Work(
        label=label or f"{plan.model.name} on {plan.benchmark.name}",
        model=plan.model.name,
        benchmark=plan.benchmark.name,
        store=fingerprint(plan.spec),
        problems=len(plan.ids),
        num_samples=plan.num_samples,
        stored=stored.samples,
        missing=missing,
        unjudged=missing + stored.unjudged,
        max_tokens=plan.decoding.max_tokens,
        prompt_tokens=once,
        prompt_tokens_each=each,
        half_width=Amount(width, source=source),
    )


def _stored(cfg: DictConfig, plan: Plan, judged_by: str) -> _Stored:
    """What is there of the planned samples; nothing is written."""
    folder = Path(cfg.paths.samples) / fingerprint(plan.spec)
    if not (folder / "spec.json").is_file():
        return _Stored(missing=(plan.num_samples,) * len(plan.ids))
    with SampleStore.open(Path(cfg.paths.samples), plan.spec, read_only=True) as store, reading(folder) as shards:
        absent = missing_of_all(dict.fromkeys(plan.ids, range(plan.num_samples)), [store, *shards])
        missing = tuple(len(absent.get(problem_id, ())) for problem_id in plan.ids)
        verdicts = VerdictStore.open(store, judged_by, read_only=True)
        in_shards = sum(map(len, store.missing(plan.ids, plan.num_samples).values())) - sum(missing)
        unjudged = in_shards + sum(map(len, verdicts.missing(plan.ids, plan.num_samples).values()))
        outcomes = verdicts.counts(plan.ids, plan.num_samples)
    solved = tuple(count[Outcome.CORRECT] / count.total() for count in outcomes.values() if count.total())
    return _Stored(len(plan.ids) * plan.num_samples - sum(missing), missing, unjudged, solved)


def _measure(cfg: DictConfig) -> None:
    """Draw some of the missing samples, of as many problems as there are, and keep them: they tell length and speed."""
    rule, _, plan = planned(cfg)
    if cfg.sampling.get("match_entropy") is not None:
        raise ConfigError("measure= needs a temperature; leave out sampling.match_entropy, or measure")
    log = Path(HydraConfig.get().runtime.output_dir) / "engine.log"
    with ExitStack() as stack:
        stack.enter_context(stop_on_sigterm())
        sampler = checked_sampler(cfg, plan, log=log)
        store = stack.enter_context(open_store(cfg, plan, rule))
        wanted = _spread_out(store.missing(plan.ids, plan.num_samples), cfg.measure)
        if not wanted:
            return
        counts = {problem_id: len(indices) for problem_id, indices in wanted.items()}
        with Progress(missing=counts, num_problems=len(wanted)) as progress:
            draw(plan, store, sampler, wanted, progress=progress)
            progress.stage("done")


def _spread_out(missing: dict[str, tuple[int, ...]], most: int) -> dict[str, tuple[int, ...]]:
    """The first missing indices of each problem, as many of each as `most` samples in all allow."""
    ids = list(missing)
    if most < len(ids):
        ids = [ids[place * len(ids) // most] for place in range(most)]
    each, more = divmod(most, max(len(ids), 1))
    return {one: missing[one][: each + (place < more)] for place, one in enumerate(ids)}


def _output(cfg: DictConfig) -> Path | None:
    if cfg.output is None:
        return None
    if not isinstance(cfg.output, str) or not cfg.output:
        raise ConfigError(f"output is {cfg.output!r}; expected the path of a file, as output=plan.json")
    output = Path(cfg.output).expanduser()
    if output.is_dir() or not output.parent.is_dir():
        why = "it is a folder" if output.is_dir() else "no such folder"
        raise ConfigError(f"output={output} cannot be written: {why}")
    return output


def _write(output: Path | None, found: list[Costs]) -> None:
    if output is None:
        return
    document = {"format": FORMAT, "evaluations": [costs_json(one) for one in found]}
    try:
        write_whole(output, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")
    except OSError as error:
        raise ConfigError(f"output={output} cannot be written: {error.strerror or error}; name another file") from error
