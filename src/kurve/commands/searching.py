"""A search: trials that Optuna proposes, each a job of a sweep. What is finished is not done again.

    <paths.out>/sweeps/<name>/
        optuna.log     Optuna's journal: what was proposed, and what came of it
        <key>/...      the trials' jobs, as of any sweep
        search/        the trials as tables, and the Pareto front as a figure

Optuna decides only what to try. Whether a job is finished its own record says, so that a trial that was under way when
the search was stopped is the first thing that the next start does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kurve import sweep
from kurve.commands import provenance
from kurve.commands.search_objectives import Objective, Value, check_objectives, values_of
from kurve.commands.search_result import Trial, publish
from kurve.commands.search_space import Dimension, Space
from kurve.commands.sweep_measured import evaluated
from kurve.commands.sweeping import FOLDER, Sweeping, checked, run_jobs
from kurve.commands.training_plan import label
from kurve.errors import ConfigError, KurveError, SweepError
from kurve.sweep import Job, JobRecord, JobStatus, Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "nsga2", "random")
JOURNAL = "optuna.log"
_JOB, _ABOUT, _MESSAGE = "job", "about", "message"  # attributes of trials and of the study
_DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"minimize": "minimize", "maximize": "maximize"}
_MOST_FAILURES = 3  # one after another, after which a search stops


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, for what, and how."""

    space: Space
    objectives: tuple[Objective, ...]
    sampler: str
    seed: int
    num_trials: int  # finished and failed ones
    num_jobs: int  # at the same time
    allow_test: bool
    confidence: float = 0.95

    def about(self) -> dict[str, object]:
        """What must be the same for a search to go on, as plain values."""
        return {
            "fixed": sorted(self.space.fixed),
            "space": [one.about() for one in self.space.dimensions],
            "objectives": {one.name: one.direction for one in self.objectives},
        }


def run_search(sweeping: Sweeping, search: Search, command: str) -> list[JobRecord]:
    """Check the space, run trials until there are enough, show and log what was found.

    The first trial runs alone: what all of them share, as the base of a study, is made once.

    Args:
        sweeping: config, loader and launcher.
        search: what is searched.
        command: which all trials run.

    Returns:
        The records of the trials' jobs, in order.

    Raises:
        ConfigError: the space, an objective or a setting cannot be; nothing was started.
        SweepError: trials fail one after another, or some could not be run; the same command goes on.
    """
    _need_optuna()

    def also(cfg: Any) -> None:
        check_objectives(cfg, command, search.objectives, allow_test=search.allow_test)

    checked(sweeping, search.space.probes(), command, also=also)
    name = _name(sweeping, search, command)
    folder = Path(sweeping.config.paths.out) / FOLDER / name
    with sweep.locked(folder):
        running = Running(sweeping, search, command, name, folder=folder)
        stopped = running.until_done()
        trials = running.trials()
        jobs = [trial.job for trial in trials]
    publish(
        sweeping.config, running.sweep(jobs), folder, trials, objectives=search.objectives, confidence=search.confidence
    )
    if stopped:
        raise SweepError(f"{stopped}\nthe same command goes on")
    return sweep.states(folder, jobs)


class Running:
    """A search at work in its folder."""

    def __init__(self, sweeping: Sweeping, search: Search, command: str, name: str, *, folder: Path) -> None:
        self._sweeping, self._search, self._command, self._name, self._folder = sweeping, search, command, name, folder
        self._study = _study(folder, search)
        self._jobs: dict[int, Job] = {}  # by trial number
        self._failures: list[str] = []  # one after another, up to now, in this start

    def until_done(self) -> str:
        """Run trials until there are enough; why it stopped before, empty if it did not."""
        while True:
            at_work = self._next()
            if not at_work:
                return self._too_many_failures()
            jobs = list({job.key: job for job in (self._job(one) for one in at_work)}.values())
            found = Sweep(self._name, self._command, tuple(jobs))
            sweep.write(self._folder, sweep.joined(sweep.read(self._folder), found))
            shared = self._search.space.fixed
            crash = run_jobs(self._sweeping, self._name, self._folder, jobs, shared=shared)
            left = [one for one in at_work if not self._tell(one)]
            if left:
                why = f": the launcher ended with {type(crash).__name__}: {crash}" if crash is not None else ""
                return f"search {self._name}: {len(left)} trials are not finished{why}"
            if message := self._too_many_failures():
                return message

    def trials(self) -> list[Trial]:
        """All trials, in order, with what they measured."""
        found = []
        for one in self._study.get_trials(deepcopy=False):
            job = self._job(one)
            record = sweep.state(self._folder / job.key)
            try:
                values = self._values(job, record)
            except KurveError as error:
                values, record = [], JobRecord(JobStatus.FAILED, record.attempt, message=str(error), facts=record.facts)
            found.append(Trial(one.number, job, dict(one.params), record, values, one.user_attrs.get(_MESSAGE, "")))
        return found

    def sweep(self, jobs: Sequence[Job]) -> Sweep:
        """The trials' jobs, each once."""
        return Sweep(self._name, self._command, tuple({job.key: job for job in jobs}.values()))

    def _next(self) -> list["FrozenTrial"]:
        """The trials that are run now: those that were under way, then new ones."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        open_ones = [one for one in trials if one.state == TrialState.RUNNING]
        known_well = any(one.state == TrialState.COMPLETE for one in trials)
        size = self._search.num_jobs if known_well else 1
        room = self._search.num_trials - len(trials)
        numbers = [one.number for one in open_ones[:size]]
        while len(numbers) < size and room > 0 and not self._too_many_failures():
            number, room = self._ask(), room - 1
            numbers += [] if number is None else [number]
        everything = self._study.get_trials(deepcopy=False)
        return [everything[number] for number in numbers]

    def _ask(self) -> int | None:
        """The number of a new trial; None if it cannot be run, which is told to Optuna at once.

        The sampler begins anew for each trial, with a seed of its own: a search that was stopped then proposes what it
        would have proposed.
        """
        from optuna.trial import TrialState

        self._study.sampler = _sampler(self._search, len(self._study.get_trials(deepcopy=False)))
        trial = self._study.ask({one.key: _distribution(one) for one in self._search.space.dimensions})
        try:
            [job] = checked(self._sweeping, [self._search.space.words(trial.params)], self._command)
            trial.set_user_attr(_JOB, job.key)
        except ConfigError as error:
            trial.set_user_attr(_MESSAGE, str(error))
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._failures.append(str(error))
            return None
        return int(trial.number)

    def _job(self, trial: "FrozenTrial") -> Job:
        words = tuple(self._search.space.words(trial.params))
        key = trial.user_attrs.get(_JOB)
        if key is None and trial.number not in self._jobs:  # refused, or stopped before it was known
            try:
                [self._jobs[trial.number]] = checked(self._sweeping, [words], self._command)
            except ConfigError:
                self._jobs[trial.number] = Job(provenance.digest(words)[:12], words)
        return self._jobs[trial.number] if key is None else Job(str(key), words)

    def _tell(self, trial: "FrozenTrial") -> bool:
        """Tell Optuna what became of a trial; whether anything final did."""
        from optuna.trial import TrialState

        job = self._job(trial)
        record = sweep.state(self._folder / job.key)
        if record.status not in (JobStatus.FINISHED, JobStatus.FAILED):
            return False
        values, message = [], record.message
        try:
            values = self._values(job, record)
        except KurveError as error:  # which `trials` tells again
            message = str(error)
        if values:
            self._study.tell(trial.number, [value.estimate.value for value in values])
            self._failures.clear()
        else:
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._failures.append(message)
        return True

    def _values(self, job: Job, record: JobRecord) -> list[Value]:
        """What a job measured of the objectives; nothing if it is not finished.

        Raises:
            KurveError: what it left cannot be used.
        """
        if record.status is not JobStatus.FINISHED:
            return []
        found = evaluated(self._command, self._folder, job, record)
        return values_of(self._search.objectives, found, confidence=self._search.confidence)

    def _too_many_failures(self) -> str:
        """What is said where the last trials of this start all failed; empty if they did not."""
        if len(self._failures) < _MOST_FAILURES:
            return ""
        return f"search {self._name}: the last {_MOST_FAILURES} trials failed, so it stops: {self._failures[-1]}"


def _need_optuna() -> None:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("hydra/sweeper=optuna needs Optuna: pip install 'kurve[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _name(sweeping: Sweeping, search: Search, command: str) -> str:
    if sweeping.config.sweep_name is not None:
        return label(sweeping.config.sweep_name, "sweep_name")
    return f"{command}-search-{provenance.digest(search.about())[:8]}"


def _study(folder: Path, search: Search) -> "Study":
    """Optuna's study in the sweep's folder, new or gone on with.

    Raises:
        SweepError: the folder holds another search, or its journal is damaged.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = folder / JOURNAL
    Path(f"{path}.lock").unlink(missing_ok=True)  # of a process that was killed; the sweep's own lock is held
    about = json.loads(json.dumps(search.about()))
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name="search",
            directions=[_DIRECTIONS[one.direction] for one in search.objectives],
            load_if_exists=True,
        )
        known = study.user_attrs.get(_ABOUT)
    except (OSError, ValueError, KeyError) as error:
        raise SweepError(f"{path} cannot be used: {error}; move it away: finished jobs are found again") from error
    if known is None:
        study.set_user_attr(_ABOUT, about)
    elif known != about:
        differing = ", ".join(key for key in about if known.get(key) != about[key])
        raise SweepError(
            f"{folder} holds another search: {differing} differ; give this one another name: sweep_name=..."
        )
    return study


def _sampler(search: Search, number: int) -> "BaseSampler":
    from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler

    kinds = {"tpe": TPESampler, "nsga2": NSGAIISampler, "random": RandomSampler}
    made: BaseSampler = kinds[search.sampler](seed=(search.seed * 1_000_003 + number) % 2**32)
    return made


def _distribution(one: Dimension) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choices:
        return CategoricalDistribution(one.choices)
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)
