"""`kurve review`: a sheet of the correct samples of the hardest solved problems, its verdicts, and CoT-pass@k."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kurve.commands.build import build
from kurve.commands.review_publish import Reviewed, Sheet, publish
from kurve.commands.review_show import show
from kurve.commands.review_stores import Source, answers, known_samples, opened, rows_of, several
from kurve.commands.sample import stop_on_sigterm
from kurve.commands.sampling_plan import whole
from kurve.errors import ConfigError, StoreError
from kurve.metrics.judged import RULES
from kurve.progress import Progress
from kurve.review.judge import Judge
from kurve.review.readback import matched, read_sheet
from kurve.review.result import ReviewSettings, agreements, check_rule, cot_result, judged
from kurve.review.rows import Choice, Row
from kurve.store import ReviewStore, list_judges
from kurve.tracking import Tracker
from kurve.types import CotVerdict, Sample, Soundness


def main(cfg: DictConfig) -> None:
    """Write the sheet, store verdicts that were read or asked, and measure what all of them come to.

    Raises:
        KurveError: a store, a sheet or the judge cannot be used; verdicts that were stored before stay.
    """
    choice, settings = _choice(cfg), _settings(cfg)
    judge: Judge = build(cfg.judge, "judge")
    tracker: Tracker = build(cfg.tracker, "tracker")
    given = [one for path in several(cfg.sheet, "sheet") for one in read_sheet(Path(path))] if cfg.sheet else []
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    with stop_on_sigterm(), opened(cfg, choice, tracker) as sources:
        sheet = Sheet(tuple(rows_of(sources, choice)), choice, tuple(sources))
        if not given:
            sheet.check()
        stores = " and ".join(str(source.store.folder) for source in sources)
        found = matched(given, known_samples(sources, {one.sample for one in given}) if given else {}, stores)
        tracker.check()
        judge.check()
        added = _keep(sources, found, revise=_flag(cfg, "revise"))
        _ask(sources, sheet.rows, judge)
        reviewed = [_reviewed(cfg, source, choice, settings) for source in sources]
        made = publish(cfg, sheet, reviewed, settings, tracker=tracker, folder=run_dir / "review")
    show(sheet, reviewed, made, settings, hint=tracker.hint, added=added if given else None)


def _choice(cfg: DictConfig) -> Choice:
    bounds = [cfg.accuracy.above, cfg.accuracy.below]
    if (
        any(isinstance(bound, bool) or not isinstance(bound, int | float | None) for bound in bounds)
        or bounds[0] is None
    ):
        raise ConfigError(f"accuracy.above={bounds[0]!r} and accuracy.below={bounds[1]!r} must be fractions, as 0.05")
    per_problem = None if cfg.per_problem is None else whole(cfg.per_problem, "per_problem", least=1)
    return Choice(
        above=float(bounds[0]),
        below=None if bounds[1] is None else float(bounds[1]),
        per_problem=per_problem,
        seed=whole(cfg.seed, "seed", least=0),
        blind=_flag(cfg, "blind"),
    )


def _settings(cfg: DictConfig) -> ReviewSettings:
    confidence = cfg.confidence
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence!r}; expected a fraction between 0 and 1, as 0.95")
    draws = whole(cfg.draws, "draws", least=100, most=1_000_000)
    return ReviewSettings(check_rule(cfg.rule), confidence, draws, whole(cfg.seed, "seed", least=0))


def _flag(cfg: DictConfig, key: str) -> bool:
    if not isinstance(cfg[key], bool):
        raise ConfigError(f"{key} is {cfg[key]!r}; expected true or false")
    return bool(cfg[key])


def _keep(sources: Sequence[Source], found: Sequence[tuple[int, CotVerdict]], *, revise: bool) -> int:
    """Store verdicts that were read, all of them or, if one contradicts what is stored, none; how many were new."""
    by_log: dict[tuple[int, str], list[CotVerdict]] = {}
    for number, verdict in found:
        by_log.setdefault((number, verdict.judge), []).append(verdict)
    with ExitStack() as stack:
        logs = {
            key: stack.enter_context(ReviewStore.open(sources[key[0]].store, key[1])) for key in by_log
        }  # all are locked before anything is written
        if not revise:
            for key, verdicts in by_log.items():
                _refuse_revision(logs[key], verdicts)
        return sum(logs[key].append(verdict, revise=revise) for key, verdicts in by_log.items() for verdict in verdicts)


def _refuse_revision(log: ReviewStore, verdicts: Sequence[CotVerdict]) -> None:
    changed = [
        (one, before)
        for one in verdicts
        if (before := log.soundness(one.problem_id, one.index)) not in (None, one.soundness)
        and before in (Soundness.SOUND, Soundness.UNSOUND)
    ]
    if changed:
        one, before = changed[0]
        more = f" ({len(changed)} such)" if len(changed) > 1 else ""
        raise StoreError(
            f"{log.judge} says {one.soundness} of sample {one.index} of problem {one.problem_id!r}, and said {before} "
            f"before{more}; revise=true lets the new verdicts count (the earlier ones stay on record)"
        )


def _ask(sources: Sequence[Source], rows: Sequence[Row], judge: Judge) -> None:
    """Ask the judge what it has not said yet of the sheet's rows, and store each verdict as it comes."""
    if not judge.names:
        return
    with ExitStack() as stack:
        logs = {
            (source.correct.fingerprint, name): stack.enter_context(ReviewStore.open(source.store, name))
            for source in sources
            for name in judge.names
        }

        def missing(row: Row) -> list[int]:
            said = [logs[row.fingerprint, name].soundness(row.problem_id, row.index) for name in judge.names]
            return [number for number, one in enumerate(said) if one in (None, Soundness.ERROR)]

        wanted = [(row, repeats) for row in rows if (repeats := missing(row))]
        left: Counter[str] = Counter()
        for row, repeats in wanted:
            left[row.problem_id] += len(repeats)
        num_problems = len({row.problem_id for row in rows})
        progress = stack.enter_context(Progress(missing=left, num_problems=num_problems, stream=sys.stderr))
        progress.drawing_since(time.monotonic())
        progress.stage("asking the judge")
        replies = stack.enter_context(closing(judge.judge(wanted)))
        for row, verdict, reply in replies:
            logs[row.fingerprint, verdict.judge].append(verdict)
            progress.sampled(Sample(row.problem_id, row.index, "", "stop", reply.num_tokens if reply else 0))
        progress.stage("judged")


def _is(name: str, wanted: str) -> bool:
    """Whether a judge is the wanted one; a model's settings and repeats may be left out."""
    return name == wanted or name.startswith((f"{wanted}@", f"{wanted}#"))


def _reviewed(cfg: DictConfig, source: Source, choice: Choice, settings: ReviewSettings) -> Reviewed:
    """All verdicts on a store's correct samples, whenever and however they were given."""
    everybody = list_judges(source.store)
    names = everybody
    if cfg.judges is not None:
        names = [name for name in everybody if any(_is(name, one) for one in several(cfg.judges, "judges"))]
        if not names:
            raise ConfigError(
                f"judges={cfg.judges} names none of those who judged {source.store.folder}: {', '.join(everybody)}"
            )
    verdicts = {name: ReviewStore.open(source.store, name, read_only=True).verdicts() for name in names}
    tally = source.correct.tally
    under = choice.under_review(tally)
    known = {problem_id for problem_id, chosen in zip(tally.problem_ids, under, strict=True) if chosen}
    touched = {problem_id for by_place in verdicts.values() for problem_id, _ in by_place}
    others = touched.intersection(tally.problem_ids) - known  # of an earlier sheet with another range
    read = {**source.correct.places, **(answers(source, others) if others else {})}
    table = judged(tally, under, verdicts, frozenset(read))
    said = [one for by_place in verdicts.values() for one in by_place.values()]
    ignored = sum((one.problem_id, one.index) not in read for one in said)
    results = {rule: cot_result(table, rule, settings) for rule in RULES} if table.places else {}
    return Reviewed(source, table, results, agreements(table, settings), tuple(said), read, ignored)
