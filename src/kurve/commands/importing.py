"""What `kurve import` keeps: samples, verdicts, problems and settings in the store, then judging what is open."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve.benchmarks.imported import lines
from kurve.commands import provenance
from kurve.commands.imported import Described, Found
from kurve.commands.sample import from_anywhere, write_evaluation
from kurve.commands.stages import judge_stored, verdict_set
from kurve.commands.stored import IMPORTED, PROBLEMS
from kurve.errors import StoreError
from kurve.figures.files import write_whole
from kurve.import_progress import ImportProgress
from kurve.importers.survey import given_set
from kurve.importers.writing import write
from kurve.store import SampleStore, VerdictStore
from kurve.verifiers import Verifier

_SHOWN = 3  # other judges, reasons: spelled out


def keep(
    cfg: DictConfig, found: Found, verifier: Verifier, stack: ExitStack, *, progress: ImportProgress
) -> tuple[SampleStore, str]:
    """Store what the files hold and what it is; the store, open for writing, and the set of verdicts that counts.

    The settings come last: a store without them is an import that did not end, and the same command goes on with it.

    Raises:
        StoreError: the store is in use, holds other samples, or cannot be written.
    """
    source = found.described.source
    store = stack.enter_context(SampleStore.open(Path(cfg.paths.samples), found.described.spec(found.asked)))
    given = given_set(source, found.survey)
    judged_by = verdict_set(verifier, found.benchmark) if found.survey.ungraded else given
    with VerdictStore.open(store, given) as verdicts:
        write(source, found.problems, store, verdicts, meter=progress.begin("storing"), tick=progress.rows)
    try:
        if found.asked is None:
            write_whole(store.folder / PROBLEMS, lines(found.problems.items.values()))
    except OSError as error:
        raise StoreError(f"cannot write {store.folder / PROBLEMS}: {error.strerror or error}; make room") from error
    write_evaluation(store.folder, provenance.as_yaml(settings_of(cfg, found, judged_by)))
    return store, judged_by


def settings_of(cfg: DictConfig, found: Found, judged_by: str) -> dict[str, Any]:
    """The settings with what the files say filled in: what `kurve verify` and `kurve report` start from."""
    config = from_anywhere(provenance.recorded(cfg))
    facts = found.described.facts
    benchmark = config.get("benchmark")
    if found.asked is None:
        benchmark = {"_target_": IMPORTED, "name": facts.benchmark, "path": None, "limit": None, "num_samples": 1}
    return {
        **{key: value for key, value in config.items() if key not in ("path", "hydra")},
        "benchmark": benchmark,
        "model": {"name": facts.model, "revision": facts.revision or None},
        "sampling": {key: getattr(facts, key) for key in config["sampling"]},
        "imported": {
            "format": found.described.source.importer.NAME,
            "files": [str(path) for path in found.described.source.files],
            "verdicts": "" if found.survey.ungraded else judged_by,
        },
    }


def judge(
    found: Found, store: SampleStore, verifier: Verifier, judged_by: str, *, stack: ExitStack, progress: ImportProgress
) -> VerdictStore:
    """The verdicts that count, complete.

    Raises:
        VerifierError: the verifier cannot be started.
    """
    verdicts = stack.enter_context(VerdictStore.open(store, judged_by))
    if found.survey.ungraded:
        progress.stage("judging")
        problems = {problem.id: problem for problem in found.benchmark.problems}
        with verifier:
            judge_stored(store, verdicts, verifier, problems, num_samples=found.survey.extent, progress=progress)
    progress.stage("measuring")
    return verdicts


def source_tag(described: Described) -> dict[str, str]:
    """Where the samples came from, as a tag of the run."""
    source = described.source
    more = f" and {len(source.files) - 1} more" if len(source.files) > 1 else ""
    return {"kurve.imported_from": f"{source.importer.NAME}: {source.files[0].name}{more}"}


def summarise(found: Found, judged_by: str, console: Console) -> None:
    """Say what the files were taken for, what was left out and what nobody knows."""
    source, survey = found.described.source, found.survey
    files = (
        f"{len(source.files)} files, first {source.files[0].name}" if len(source.files) > 1 else source.files[0].name
    )
    said = [f"format   {source.importer.NAME} ({files}): {survey.samples:,} samples of {survey.problems:,} problems"]
    said.append(f"verdicts {judged_by}{_whose(found)}")
    for reason, count in survey.left_out.most_common(_SHOWN):
        said.append(f"left out {count:,} rows: {reason}")
    if found.described.unknown:
        first = found.described.unknown[0]
        said.append(
            f"unknown  {', '.join(found.described.unknown)}: the files do not say; sampling.{first}=... records it"
        )
    for line in said:
        console.print(Text(line), soft_wrap=True)


def _whose(found: Found) -> str:
    survey = found.survey
    if survey.ungraded == survey.samples:
        return ", by our verifier: the files have none"
    if survey.ungraded:
        return f", by our verifier: the files have none on {survey.ungraded:,} samples"
    others = [name for name in survey.graders if name != survey.grader]
    if not others:
        return ", as in the files"
    more = "" if len(others) <= _SHOWN else ", ..."
    return f", as in the files; grader=<{'|'.join(others[:_SHOWN])}{more}> takes another"
