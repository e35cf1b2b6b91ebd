"""Hydra's door to a search with Optuna: `hydra/sweeper=optuna`. The work is in `kurve.commands.searching`.

Hydra imports this module in every program of an environment that has kurve installed, so it imports nothing heavy.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Trials that Optuna proposes, in a folder that is found again by the search's name.

    Args:
        objectives: `minimize` or `maximize` and the name of a quantity.
        n_trials: in all, failed ones included.
        n_jobs: trials handed to the launcher together.
        sampler: `tpe`, `nsga2` or `random`.
        seed: of the sampler.
        params: what is searched, as key and Hydra's grammar; the command line comes over it.
        allow_test: search on problems that do not say that they are there to be tuned on.
    """

    def __init__(
        self,
        *,
        objectives: Sequence[str],
        n_trials: int = 20,
        n_jobs: int = 1,
        sampler: str = "tpe",
        seed: int = 0,
        params: Mapping[str, str] | None = None,
        allow_test: bool = False,
    ) -> None:
        self._given = (objectives, n_trials, n_jobs, sampler, seed, allow_test)
        self._params = params or {}
        self._context: HydraContext | None = None
        self._task: TaskFunction | None = None
        self._launcher: Launcher | None = None
        self._config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what runs the jobs, and set up the launcher."""
        self._context, self._task, self._config = hydra_context, task_function, config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search, and say what was found.

        Raises:
            KurveError: a search that cannot be (nothing was started), or one that could not be brought to its end.
        """
        from kurve.commands.search_settings import search_of
        from kurve.commands.searching import run_search
        from kurve.commands.sweeping import Sweeping

        assert self._config is not None
        assert self._launcher is not None
        assert self._context is not None
        loader = self._context.config_loader
        words = [*(f"{key}={value}" for key, value in self._params.items()), *arguments]
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
        objectives, n_trials, n_jobs, sampler, seed, allow_test = self._given
        search = search_of(
            overrides,
            objectives=objectives,
            n_trials=n_trials,
            n_jobs=n_jobs,
            sampler=sampler,
            seed=seed,
            allow_test=allow_test,
        )
        return run_search(
            Sweeping(self._config, loader, self._launcher, None), search, getattr(self._task, "command", "")
        )
