"""The sweeper of kurve's commands: Hydra's basic one, but finished jobs are not done again.

Hydra imports this module in every program of an environment that has kurve installed, so it imports nothing heavy.
"""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ResumableSweeper(BasicSweeper):
    """Every combination of the swept values, in a folder that is found again by the sweep's name.

    Args:
        max_batch_size: jobs handed to the launcher together; None hands over all.
        params: what is swept, as key and values; the command line comes over it.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size, params)
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what runs the jobs, and set up the launcher."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.task_function = task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Check every job, start those that are not finished, and say how all of them fare.

        Raises:
            KurveError: a job that cannot run (nothing was started), or jobs that did not finish.
        """
        from kurve.commands.sweeping import Sweeping, run_sweep, run_together

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*self._parse_config(), *arguments])
        points = [point for batch in self.split_arguments(parsed, None) for point in batch]
        sweeping = Sweeping(self.config, loader, self.launcher, self.max_batch_size)
        command = getattr(self.task_function, "command", "")
        return None if run_together(sweeping, points, command) else run_sweep(sweeping, points, command)
