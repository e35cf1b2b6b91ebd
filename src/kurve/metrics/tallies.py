"""Some of the problems of a tally."""

import numpy as np
from numpy.typing import NDArray

from kurve.types import Tally


def problems_at(tally: Tally, rows: NDArray[np.intp]) -> Tally:
    """The counts of the problems at these places, in this order."""
    return Tally(
        tuple(tally.problem_ids[row] for row in rows),
        tally.num_samples[rows],
        tally.num_correct[rows],
        tally.num_errors[rows],
        largest_k=None if tally.largest_k is None else tally.largest_k[rows],
        strata=tuple(tally.strata[row] for row in rows) if tally.strata else (),
    )
