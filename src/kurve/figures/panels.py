"""What a figure of several models is drawn from: panels of models that share a benchmark, and how to draw them."""

from dataclasses import dataclass

import numpy as np

from kurve.metrics.paired import PairedDifference
from kurve.types import Curve, Tally


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One model of a panel."""

    name: str  # as people call it; differs from all others of its panel
    tally: Tally  # of the panel's problems, in the panel's order, [P]
    role: str = ""  # base, tuned, teacher, distilled; empty where it is not known
    against: int | None = None  # place in the panel of the model it is compared with
    temperature: float | None = None  # that its samples were drawn at
    step: int | None = None  # of its training
    series: str = ""  # the training that its step belongs to
    curve: Curve | None = None  # pass@k with its own band, once measured
    difference: PairedDifference | None = None  # to `against`, once measured


@dataclass(frozen=True, slots=True)
class Panel:
    """Models on one benchmark, all on the same problems."""

    benchmark: str  # empty: unknown
    family: str  # panels of one family stand in one row
    members: tuple[Member, ...]  # what others are compared with comes first

    @property
    def num_problems(self) -> int:
        """How many problems all of them were sampled on."""
        return len(self.members[0].tally.problem_ids)

    @property
    def fewest(self) -> int:
        """The fewest samples that any problem has of any model."""
        return min(int(one.tally.reach.min()) for one in self.members)


@dataclass(frozen=True, slots=True)
class Style:
    """What a caller may choose of any figure."""

    title: str = ""  # empty takes the figure's own
    confidence: float = 0.95  # of intervals and bands, a fraction
    draws: int = 4000  # of the bands' multipliers
    seed: int = 0  # of those draws
    differences: bool = True  # show paired differences below curves
    k: int = 256  # of headline numbers; the largest k where n is smaller

    def rng(self) -> np.random.Generator:
        """A generator in the state that every measurement starts with."""
        return np.random.default_rng(self.seed)

    @property
    def level(self) -> str:
        """The confidence in words."""
        return f"{100 * self.confidence:g} %"
