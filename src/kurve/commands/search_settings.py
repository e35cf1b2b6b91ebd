"""The settings of `hydra.sweeper` of a search, checked."""

from collections.abc import Sequence

from hydra.core.override_parser.types import Override

from kurve.commands.sampling_plan import whole
from kurve.commands.search_objectives import objectives_of
from kurve.commands.search_space import space_of
from kurve.commands.searching import SAMPLERS, Search
from kurve.errors import ConfigError


def search_of(
    overrides: Sequence[Override],
    *,
    objectives: Sequence[str],
    n_trials: int,
    n_jobs: int,
    sampler: str,
    seed: int,
    allow_test: bool,
) -> Search:
    """The search that the settings describe.

    Raises:
        ConfigError: which setting is wrong, and what is expected.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(f"hydra.sweeper.sampler is {sampler!r}; expected one of {', '.join(SAMPLERS)}")
    if not isinstance(allow_test, bool):
        raise ConfigError(f"hydra.sweeper.allow_test is {allow_test!r}; expected true or false")
    return Search(
        space=space_of(overrides),
        objectives=tuple(objectives_of(objectives)),
        sampler=sampler,
        seed=whole(seed, "hydra.sweeper.seed", least=0),
        num_trials=whole(n_trials, "hydra.sweeper.n_trials", least=1),
        num_jobs=whole(n_jobs, "hydra.sweeper.n_jobs", least=1),
        allow_test=allow_test,
    )
