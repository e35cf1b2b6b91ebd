"""`sampling.match_entropy`: evaluate at the temperature at which the token entropy is that of another evaluation."""

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from kurve import matched_temperature
from kurve.commands.models import build_model
from kurve.commands.pilots import FOLDER, PilotDraws, refuse_unable, stored_entropies, tells_entropy
from kurve.commands.provenance import digest, problems_digest
from kurve.commands.sampling_plan import MAX_SAMPLES, Plan, checked, whole, with_local_revision
from kurve.commands.stored import find_evaluated, stored_config
from kurve.entropy_matching import SearchSettings, match_entropy
from kurve.errors import ConfigError
from kurve.matched_temperature import MatchedTemperature
from kurve.metrics.token_entropy import TokenEntropies
from kurve.store import SampleStore
from kurve.tracking import Tracker
from kurve.types import Decoding, Prompt, SamplingSpec

KEY = "match_entropy"  # of `sampling`; the other settings begin with it


@dataclass(frozen=True, slots=True)
class _Reference:
    """The base's evaluation."""

    folder: Path
    spec: SamplingSpec
    temperature: float
    prompts: tuple[Prompt, ...]  # what the base was sent for each of the plan's problems, in their order


def at_matched_temperature(
    cfg: DictConfig, plan: Plan, tracker: Tracker, *, log: Path
) -> tuple[DictConfig, Plan, MatchedTemperature | None]:
    """Config and plan at the temperature that `sampling.match_entropy` asks for; as they are if it asks for nothing.

    The temperature is looked for with pilots; one that was found before is taken from its record, without a model.

    Args:
        cfg: config of the evaluation.
        plan: made from it.
        tracker: where the run of a reference is looked up.
        log: file that receives the engine's output.

    Raises:
        ConfigError: no such reference, other questions, greedy decoding, an engine that tells no entropy, or no
            temperature in the range.
        SamplingError: the engine failed; what it drew before is stored.
    """
    given = cfg.sampling.get(KEY)
    if given is None:
        return cfg, plan, None
    samples = whole(cfg.sampling[f"{KEY}_samples"], f"sampling.{KEY}_samples", least=1, most=MAX_SAMPLES)
    settings = _settings(cfg.sampling)
    reference = _reference(find_evaluated(cfg, f"sampling.{KEY}", str(given), tracker), plan)
    path = Path(cfg.paths.samples) / FOLDER / f"match-{_search_digest(reference, plan, settings, samples)}.json"
    found = matched_temperature.read(path)
    if found is None:
        refuse_unable(cfg.sampler)
        found = _search(cfg, plan, reference, settings, samples=samples, log=log)
        matched_temperature.write(path, found)
    console = Console(highlight=False)
    console.print(Text(f"matched  T = {found.temperature:g} ({found.interval})"), soft_wrap=True)
    cfg = copy.deepcopy(cfg)
    cfg.sampling.temperature = found.temperature
    return cfg, _at(plan, found.temperature), found


def keep(folder: Path, found: MatchedTemperature | None) -> None:
    """Put what was found beside the samples that are drawn with it: reports show it.

    Raises:
        StoreError: it cannot be written.
    """
    if found is not None:
        matched_temperature.write(folder / matched_temperature.RECORD, found)


def _at(plan: Plan, temperature: float) -> Plan:
    return dataclasses.replace(
        plan,
        decoding=dataclasses.replace(plan.decoding, temperature=temperature),
        spec=dataclasses.replace(plan.spec, temperature=temperature),
    )


def _settings(node: DictConfig) -> SearchSettings:
    limits, tolerance = node[f"{KEY}_range"], node[f"{KEY}_tolerance"]
    given = [*limits, tolerance] if isinstance(limits, ListConfig) else []
    numbers = [float(one) for one in given if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) != 3:
        raise ConfigError(
            f"sampling.{KEY}_range is {limits} and sampling.{KEY}_tolerance {tolerance}; expected two temperatures "
            "as [0.1,2.0], and a difference of temperatures as 0.01"
        )
    return SearchSettings(*numbers)


def _reference(folder: Path, plan: Plan) -> _Reference:
    """The base's evaluation, if it asked the plan's questions with some randomness."""
    with SampleStore.open_folder(folder) as store:
        spec, counts = store.spec, store.counts()
        stored = {prompt.problem_id: prompt for prompt in store.prompts()}
    if (temperature := spec.temperature) is None:
        raise ConfigError(
            f"sampling.{KEY}: the samples of {folder.name} came from another tool, which does not say at "
            "which temperature; import them with sampling.temperature=... or evaluate the base"
        )
    if temperature == 0 or plan.decoding.temperature == 0:
        which = f"the samples of {folder.name} were" if temperature == 0 else "sampling.temperature=0: samples are"
        raise ConfigError(
            f"{which} drawn greedily, from a distribution without entropy; match one with temperature > 0"
        )
    ids = plan.ids
    lacking = [problem_id for problem_id in ids if not counts.get(problem_id) or problem_id not in stored]
    if lacking:
        raise ConfigError(
            f"sampling.{KEY}: {folder.name} ({spec.benchmark}) has no samples of {len(lacking)} of the {len(ids)} "
            f"problems ({', '.join(lacking[:3])}); evaluate the base on {plan.benchmark.name} first"
        )
    other = [p.id for p in plan.benchmark.problems if stored[p.id].question not in ("", p.question)]
    if other:
        raise ConfigError(
            f"sampling.{KEY}: {len(other)} problems ({', '.join(other[:3])}) ask something else in {folder.name} than "
            f"in {plan.benchmark.name}; evaluate the base on the same data"
        )
    images = {prompt.problem_id: prompt.images for prompt in plan.prompts}
    prompts = tuple(Prompt(one, stored[one].text, stored[one].messages, images[one]) for one in ids)
    return _Reference(folder, spec, temperature, prompts)


def _search_digest(reference: _Reference, plan: Plan, settings: SearchSettings, samples: int) -> str:
    """Names the search: what decides the temperature that it finds."""
    spec = dataclasses.asdict(dataclasses.replace(plan.spec, temperature=0.0))
    problems = problems_digest(plan.benchmark.problems)
    return digest(reference.folder.name, spec, problems, dataclasses.asdict(settings), samples)[:12]


def _search(
    cfg: DictConfig, plan: Plan, reference: _Reference, settings: SearchSettings, *, samples: int, log: Path
) -> MatchedTemperature:
    console = Console(highlight=False)
    ids = plan.ids
    console.print(
        Text(
            f"token entropy of {reference.folder.name} at T = {reference.temperature:g}, then that of "
            f"{plan.model.name} at several T: {len(ids):,} problems x {samples:,} samples each, about 5 to 10 times"
        ),
        soft_wrap=True,
    )
    base, source = _base_entropies(cfg, plan, reference, samples=samples, log=log)
    with PilotDraws(cfg, plan, num_samples=samples, log=log) as draws:

        def measure(temperature: float) -> TokenEntropies:
            drawn = draws.entropies(temperature)
            mean, wanted = (one.nats.sum() / max(1.0, one.tokens.sum()) for one in (drawn, base))
            console.print(Text(f"  T = {temperature:<6g} {mean:.4f} nats a token (base {wanted:.4f})"), soft_wrap=True)
            return drawn

        match = match_entropy(base, reference.temperature, measure, settings)
    return matched_temperature.as_record(
        match,
        reference=reference.folder.name,
        reference_temperature=reference.temperature,
        confidence=settings.confidence,
        num_problems=len(ids),
        samples=samples,
        source=source,
    )


def _base_entropies(
    cfg: DictConfig, plan: Plan, reference: _Reference, *, samples: int, log: Path
) -> tuple[TokenEntropies, str]:
    """The base's entropies and where they are from: its samples where these tell them, else a pilot of the base."""
    if tells_entropy(reference.spec):
        with SampleStore.open_folder(reference.folder) as store:
            found = stored_entropies(store, plan.ids)
        if found is not None:
            return found, "its stored samples"
    with PilotDraws(cfg, _base_plan(plan, reference), num_samples=samples, log=log) as draws:
        return draws.entropies(reference.temperature), f"a pilot of {samples} samples a problem"


def _base_plan(plan: Plan, reference: _Reference) -> Plan:
    """The plan of a pilot of the base: its own model, prompts and settings."""
    spec, drawn_with = reference.spec, stored_config(reference.folder)
    why = (
        f"the samples of {reference.folder.name} do not tell the entropy of what they were drawn from "
        f"(T = {spec.temperature:g}, top_p = {spec.top_p:g})"
    )
    if drawn_with is None or OmegaConf.select(drawn_with, "model") is None:
        raise ConfigError(
            f"{why}, and the store does not say which model drew them; evaluate the base with kurve evaluate first"
        )
    model = with_local_revision(checked(build_model(drawn_with)))
    if (model.path, model.revision) != (spec.model, spec.model_revision):
        raise ConfigError(
            f"{why}, and its model {spec.model} is not what it was (revision {spec.model_revision or 'none'}, now "
            f"{model.path} {model.revision or 'none'}); evaluate the base again and name that"
        )
    decoding = Decoding(**{f.name: getattr(spec, f.name) for f in dataclasses.fields(Decoding)})
    spec = dataclasses.replace(spec, engine=plan.spec.engine, seed=str(plan.seed))
    return dataclasses.replace(plan, prompts=reference.prompts, model=model, decoding=decoding, spec=spec)
