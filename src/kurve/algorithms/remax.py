"""ReMax: the greedy response is the baseline. Li et al. 2023 (arXiv:2310.10505)."""

from collections.abc import Mapping
from typing import Any

from kurve.algorithms.local_groups import check_local_groups
from kurve.algorithms.rlvr import Rlvr
from kurve.errors import ConfigError


class Remax(Rlvr):
    """A response's advantage is its reward minus that of the greedy response to the same prompt (algorithm 1).

    Each prompt costs one more response, which is judged and not trained on.

    Raises:
        ConfigError: a setting is out of range.
    """

    def check(self, args: Mapping[str, Any], *, processes: int) -> None:
        """As every RLVR algorithm; and each process needs whole groups, since it responds greedily to its own."""
        super().check(args, processes=processes)
        settings = self.settings(args)
        check_local_groups(settings, processes, algorithm="ReMax")
        if (settings.get("generation_kwargs") or {}).get("num_beams", 1) != 1:
            raise ConfigError("algorithm.args.generation_kwargs.num_beams: ReMax compares with one greedy response")

    def trainer_class(self) -> type:
        """The trainer that also responds greedily."""
        from kurve.algorithms.trainers.remax import RemaxTrainer

        return RemaxTrainer
