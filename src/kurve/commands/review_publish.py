"""The end of `kurve review`: the sheet and what its verdicts come to, as files, as runs and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from kurve.commands import provenance
from kurve.commands.publishing import publish_files
from kurve.commands.review_stores import Source
from kurve.errors import DataError
from kurve.figures.files import save, write_whole
from kurve.figures.reviewed import cot_figure
from kurve.metrics.agreement import Agreement
from kurve.review.files import Shown, sheet_csv, sheet_parquet, verdicts_parquet
from kurve.review.page import sheet_page
from kurve.review.result import CotResult, Judged, ReviewSettings, as_json, scalars
from kurve.review.rows import Choice, Place, Row, sheet_id
from kurve.store import list_judges
from kurve.tracking import RunInfo, TimedPoint, Tracker, now_ms
from kurve.types import CotVerdict, Curve

FOLDER = "review"


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows under review and where they come from."""

    rows: tuple[Row, ...]
    choice: Choice
    sources: tuple[Source, ...]

    @property
    def title(self) -> str:
        """Of the page."""
        benchmarks = ", ".join(dict.fromkeys(source.benchmark for source in self.sources))
        models = "" if self.choice.blind else f" ({', '.join(source.correct.model for source in self.sources)})"
        return f"Review sheet: {benchmarks}{models}"

    @property
    def shown(self) -> Shown:
        """What it says beside the texts."""
        blind = self.choice.blind
        return Shown(model=not blind, counts=not blind or len(self.sources) == 1)

    def check(self) -> None:
        """Refuse a sheet without a row, unless somebody has judged samples of these stores before.

        Raises:
            DataError: what accuracies there are.
        """
        if self.rows or any(list_judges(source.store) for source in self.sources):
            return
        solved = [
            c / n
            for source in self.sources
            for n, c in zip(
                source.correct.tally.num_samples.tolist(), source.correct.tally.num_correct.tolist(), strict=True
            )
            if c
        ]
        hint = (
            f"{len(solved)} problems are solved, with accuracies {min(solved):.2%} to {max(solved):.2%}; widen the "
            "range: accuracy.below=... (null: no limit)"
            if solved
            else "no problem is solved at all, so there is no reasoning to review"
        )
        raise DataError(f"no problem has an {self.choice.accuracy_words}: {hint}")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One store and all that was ever said of it."""

    source: Source
    judged: Judged
    results: Mapping[str, CotResult]  # by rule; empty while nothing is judged
    agreement: Mapping[str, Agreement]
    verdicts: tuple[CotVerdict, ...]
    answers: Mapping[Place, str]
    num_ignored: int  # verdicts on samples whose answer is not correct by this verifier


@dataclass(frozen=True, slots=True)
class Published:
    """Where everything is."""

    folder: Path
    page: Path
    urls: tuple[str, ...]  # of the runs


def publish(
    cfg: DictConfig,
    sheet: Sheet,
    reviewed: Sequence[Reviewed],
    settings: ReviewSettings,
    *,
    tracker: Tracker,
    folder: Path,
) -> Published:
    """Write the files, and log a run for each store that was judged, or one for the sheet alone.

    Raises:
        DataError: the folder cannot be written.
        TrackingError: the run could not be sent; the files and all verdicts are there.
    """
    try:
        page, *tables = _write_sheet(sheet, folder)
        judged = [one for one in reviewed if one.judged.places]
        results = [_write_result(one, settings, folder) for one in judged]
    except OSError as error:
        raise DataError(f"cannot write the review to {folder}: {error}; make room or name another folder") from error
    urls = []
    for one, (files, document) in zip(judged, results, strict=True):
        info = _run_info(cfg, sheet, [one.source], said=document)
        points = _points(one, one.results[settings.rule])
        publish_files(tracker, info, [page, *tables, *files], FOLDER, points=points)
        urls.append(tracker.url)
    if not judged:
        publish_files(tracker, _run_info(cfg, sheet, sheet.sources, said=b""), [page, *tables], FOLDER)
        urls.append(tracker.url)
    return Published(folder, page, tuple(filter(None, urls)))


def _write_sheet(sheet: Sheet, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "review.html": sheet_page(sheet.rows, sheet.shown, title=sheet.title),
        "review.parquet": sheet_parquet(sheet.rows, sheet.shown),
        "review.csv": sheet_csv(sheet.rows, sheet.shown),
    }
    for name, data in contents.items():
        write_whole(folder / name, data)
    return [folder / name for name in contents]


def _write_result(one: Reviewed, settings: ReviewSettings, folder: Path) -> tuple[list[Path], bytes]:
    result = one.results[settings.rule]
    document = as_json(list(one.results.values()), one.judged, one.agreement, settings)
    place = folder / one.source.correct.fingerprint
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / "cot_pass_at_k.json", document)
    write_whole(place / "verdicts.parquet", verdicts_parquet(one.verdicts, one.answers))
    title = f"{one.source.correct.model} on {one.source.benchmark}"[:90]
    of = f"sound by {settings.rule} of {len(one.judged.judges)} judges"
    files = [place / "cot_pass_at_k.json", place / "verdicts.parquet"]
    drawn = cot_figure(
        result.plain,
        result.estimate,
        (result.least, result.most),
        title=title,
        subtitle=f"{len(one.judged.tally.problem_ids)} problems   {of}; problems that were not reviewed count as sound",
    )
    files += save(drawn, place, "cot_pass_at_k")
    if result.reviewed_plain is not None and result.reviewed_estimate is not None:
        subtitle = f"{int(result.counts.reviewed.sum())} reviewed problems alone   {of}"
        drawn = cot_figure(result.reviewed_plain, result.reviewed_estimate, None, title=title, subtitle=subtitle)
        files += save(drawn, place, "cot_pass_at_k_reviewed")
    return files, document


def _points(one: Reviewed, result: CotResult) -> list[TimedPoint]:
    now, name = now_ms(), one.source.benchmark
    found = [TimedPoint(f"{name}/{key}", value, 0, now) for key, value in scalars(result, one.judged).items()]
    curves = (result.plain, result.estimate, result.reviewed_plain, result.reviewed_estimate)
    for curve in filter(None, curves):
        found += _curve_points(f"{name}/{curve.name}", curve, now)
    for curve in (result.least, result.most):
        found += [
            TimedPoint(f"{name}/{curve.name}", float(value), int(k), now)
            for k, value in zip(curve.k, curve.value, strict=True)
        ]
    return found


def _curve_points(key: str, curve: Curve, now: int) -> list[TimedPoint]:
    return [
        TimedPoint(f"{key}{suffix}", float(value), int(k), now)
        for suffix, values in (("", curve.value), ("_low", curve.low), ("_high", curve.high))
        for k, value in zip(curve.k, values, strict=True)
    ]


def _run_info(cfg: DictConfig, sheet: Sheet, sources: Sequence[Source], *, said: bytes) -> RunInfo:
    config = provenance.recorded(cfg)
    models = ", ".join(source.correct.model for source in sources)
    tags = {
        "kurve.kind": "review",
        "kurve.model": models,
        "kurve.benchmark": ", ".join(dict.fromkeys(source.benchmark for source in sources)),
        "kurve.fingerprint": ", ".join(source.correct.fingerprint for source in sources),
        "kurve.store": ", ".join(str(source.store.folder) for source in sources),
        "kurve.verifier": ", ".join(dict.fromkeys(source.verifier for source in sources)),
    }
    if runs := [source.run_id for source in sources if source.run_id]:
        tags["kurve.evaluation_run_id" if len(runs) == 1 else "kurve.evaluation_run_ids"] = ", ".join(runs)
    if commit := provenance.git_commit():
        tags["kurve.git_commit"] = commit
    verifiers = [(source.store.fingerprint, source.verifier) for source in sources]
    return RunInfo(
        key=provenance.digest("review", verifiers, sheet_id(sheet.rows), said.decode()),
        name=f"{'review' if said else 'review sheet'} of {models} on {tags['kurve.benchmark']}"[:200],
        params=provenance.flat_params(config),
        tags=tags,
        config_yaml=provenance.as_yaml(config),
        versions=provenance.versions(),
    )
