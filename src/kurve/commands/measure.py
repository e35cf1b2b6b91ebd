"""The end of `evaluate` and the whole of `report`: measure stored samples, track the report, say where to look."""

import dataclasses
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from kurve import matched_temperature
from kurve.benchmarks.rows import Benchmark
from kurve.commands import provenance
from kurve.commands.headlines import headlines
from kurve.commands.stopping import counted_lengths
from kurve.errors import TrackingError
from kurve.export import write_files
from kurve.guess_filter import GuessFilter, with_filter
from kurve.report import ReportSettings, build_report
from kurve.speeds import draw_speed
from kurve.store import SampleStore, VerdictStore
from kurve.strata import with_strata
from kurve.tracking import RunInfo, Tracker
from kurve.types import Report, Sample, SamplingSpec, Verdict


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is measured, and what the run that tracks it must say."""

    benchmark: Benchmark
    spec: SamplingSpec
    model_name: str
    folder: Path  # of the sample store
    verifier: str  # fingerprint
    settings: ReportSettings
    config: Mapping[str, Any]  # as recorded: resolved, secrets blotted out
    tags: Mapping[str, str] = field(default_factory=dict)  # of the run, given by the user
    guesses: GuessFilter | None = None  # what was left out of `benchmark`
    left_out: Mapping[str, str] = field(default_factory=dict)  # the questions of those problems, by id

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.model_name} on {self.benchmark.name}"

    @property
    def run_info(self) -> RunInfo:
        """The run before it starts; its key is the same for the same measurement of the same samples."""
        data = provenance.problems_digest(self.benchmark.problems)
        return RunInfo(
            key=provenance.digest(self.folder.name, data, self.verifier, self._settings_that_count(), *self._matched()),
            name=self.name,
            params=provenance.flat_params(self.config),
            tags=self._tags(),
            config_yaml=provenance.as_yaml(self.config),
            versions=provenance.versions(),
            dataset_name=self.benchmark.name,
            dataset_source=self.benchmark.source,
            dataset_digest=data[:12],
            prompts=[(problem.id, problem.question) for problem in self.benchmark.problems],
        )

    def _settings_that_count(self) -> dict[str, object]:
        """The filter counts by what it left out, a metric by its function and settings."""
        settings = {field.name: getattr(self.settings, field.name) for field in dataclasses.fields(self.settings)}
        for name in ("metrics", "sample_metrics"):
            settings[name] = {key: _described(metric) for key, metric in settings[name].items()}
        settings["guess_filter"] = self.guesses.ids if self.guesses else None
        rule = settings.pop("stopping")
        return settings | ({"stopping": dataclasses.astuple(rule)} if rule is not None else {})

    def _matched(self) -> tuple[object, ...]:
        """What was found of the temperature; empty for samples whose temperature was given."""
        found = matched_temperature.read(self.folder / matched_temperature.RECORD)
        return () if found is None else (dataclasses.astuple(found),)

    def _tags(self) -> dict[str, str]:
        tags = {
            "kurve.fingerprint": self.folder.name,
            "kurve.store": str(self.folder),
            "kurve.verifier": self.verifier,
            "kurve.model": self.model_name,
            "kurve.benchmark": self.benchmark.name,
            "kurve.engine": self.spec.engine,
            "kurve.host": platform.node(),
        }
        if commit := provenance.git_commit():
            tags["kurve.git_commit"] = commit
        # A Slurm or Ray job's own number lets an engineer find its log from the run.
        tags |= {f"kurve.{key.lower()}": os.environ[key] for key in ("SLURM_JOB_ID",) if key in os.environ}
        if self.guesses is not None:
            tags |= self.guesses.tags()
        return tags | dict(self.tags)


def _described(metric: object) -> object:
    """A metric's function and its settings, or null."""
    if isinstance(metric, partial):
        return [_described(metric.func), metric.args, metric.keywords]
    return metric and f"{getattr(metric, '__module__', '')}.{getattr(metric, '__qualname__', type(metric).__name__)}"


@contextmanager
def tracked(tracker: Tracker, evaluation: Evaluation) -> Iterator[bool]:
    """Open the run, and close it as FAILED or KILLED when the body does not end; yields whether it is new.

    A tracking server that dies in between costs nothing but the run's status.
    """
    todo = tracker.start(evaluation.run_info)
    try:
        yield todo
    except BaseException as error:
        if todo:
            status = "KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED"
            _finish_quietly(tracker, status)
        raise


def _finish_quietly(tracker: Tracker, status: str) -> None:
    try:
        tracker.finish(status)
    except TrackingError:  # the error that ended the body matters more
        return


def measure(evaluation: Evaluation, store: SampleStore, verdicts: VerdictStore) -> Report:
    """The report on what is stored.

    Raises:
        MetricError: the verdicts do not allow it.
        DataError: with a stopping rule, some problem is still to be drawn.
    """
    samples, judged = counted(evaluation, store, verdicts)
    report = build_report(
        benchmark=evaluation.benchmark.name,
        spec=evaluation.spec,
        verifier=evaluation.verifier,
        problems=evaluation.benchmark.problems,
        samples=samples,
        verdicts=judged,
        settings=evaluation.settings,
        rng=np.random.default_rng(evaluation.settings.seed),
        answer_space=evaluation.benchmark.answer_space,
    )
    if evaluation.guesses is not None:
        report = with_filter(report, evaluation.guesses, evaluation.left_out)
    scalars, notes = dict(report.scalars), list(report.notes)
    if (speed := draw_speed(evaluation.folder)) is not None:
        scalars["tokens_per_second"] = speed.tokens_per_second
    string_only = evaluation.benchmark.string_only
    scalars["num_string_only"] = len(string_only)
    if string_only:
        named = ", ".join(string_only[:5]) + (", ..." if len(string_only) > 5 else "")
        notes.append(f"{len(string_only)} reference answers are read as text only, not as mathematics: {named}.")
    counts = with_strata(report.tally, evaluation.benchmark.strata_by_id)
    report = dataclasses.replace(report, scalars=scalars, notes=tuple(notes), model=evaluation.model_name, tally=counts)
    return matched_temperature.with_matched_temperature(report, evaluation.folder)


def counted(
    evaluation: Evaluation, store: SampleStore, verdicts: VerdictStore
) -> tuple[Iterator[Sample], Iterator[Verdict]]:
    """The samples and verdicts that count: with a stopping rule, those of each problem up to where it was stopped."""
    rule = evaluation.settings.stopping
    if rule is None:
        return store.samples(), verdicts.verdicts()
    end = counted_lengths(verdicts, [problem.id for problem in evaluation.benchmark.problems], rule)
    return (
        (sample for sample in store.samples(end) if sample.index < end[sample.problem_id]),
        (verdict for verdict in verdicts.verdicts(end) if verdict.index < end[verdict.problem_id]),
    )


def publish(
    tracker: Tracker,
    report: Report,
    folder: Path,
    *,
    todo: bool,
    later: str,
    write_all: Callable[[Path], Sequence[Path]] | None = None,
) -> Sequence[Path]:
    """Write the report's files, and log them unless a finished run holds them already.

    Args:
        tracker: with an open run.
        report: what was measured.
        folder: of the files.
        todo: whether the run still has to be logged.
        later: the command that sends it another time.
        write_all: writes what only the tracker keeps into a folder that is removed afterwards.

    Raises:
        TrackingError: the report could not be sent; the message says how to send it later.
    """
    files = write_files(report, folder)
    if todo:
        try:
            with TemporaryDirectory(dir=folder) as part:
                tracker.log_report(report, [*files, *(write_all(Path(part)) if write_all else ())])
            tracker.finish("FINISHED")
        except TrackingError as error:
            raise TrackingError(
                f"{error}\nNothing is lost: samples and verdicts are stored, the report is in {folder}. "
                f"Send it when the server is back:\n  {later}"
            ) from error
    return files


def show(report: Report, evaluation: Evaluation, tracker: Tracker, *, folder: Path, todo: bool) -> None:
    """Print the result and where everything is."""
    console = Console(highlight=False)
    scalars = report.scalars
    tally = report.tally
    sure = f"{100 * evaluation.settings.confidence:g} %"
    console.print(Text(evaluation.name, style="bold"))
    for key in _pass_keys(scalars):
        interval = f"[{scalars[f'{key}_low']:.1%}, {scalars[f'{key}_high']:.1%}]"
        console.print(Text(f"  {key.replace('pass_at_', 'pass@'):<10} {scalars[key]:>7.1%}  {sure} {interval}"))
    console.print(
        Text(
            f"  problems: {len(tally.problem_ids)}, samples each: {_range(tally.num_samples)}, "
            f"problems solved at least once: {int((tally.num_correct > 0).sum())}"
        )
    )
    rates = ("truncation", "no_answer", "timeout", "error", "verifier_disagreement", "duplicate")
    parts = [f"{name.replace('_', ' ')} {scalars[f'{name}_rate']:.1%}" for name in rates if f"{name}_rate" in scalars]
    console.print(Text("  " + ", ".join(parts)), soft_wrap=True)
    for line in headlines(scalars):
        console.print(Text(f"  {line}"), soft_wrap=True)
    for note in report.notes:
        console.print(Text(f"  note: {note}"), soft_wrap=True)
    console.print(Text(f"samples  {evaluation.folder}"), soft_wrap=True)
    console.print(Text(f"files    {folder}"), soft_wrap=True)
    if tracker.url:
        console.print(Text(f"run      {tracker.url}" + ("" if todo else "  (logged before)")), soft_wrap=True)
    if tracker.hint:
        console.print(Text(tracker.hint), soft_wrap=True)


def _range(counts: NDArray[np.int64]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _pass_keys(scalars: Mapping[str, float]) -> list[str]:
    keys = [key for key in scalars if re.fullmatch(r"pass_at_\d+", key) and f"{key}_low" in scalars]
    return sorted(keys, key=lambda key: int(key.removeprefix("pass_at_")))
