"""delta SE of Yue et al. 2025 (arXiv:2504.13837 v2), Tables 2 and 3: base pass@256 - tuned pass@1."""

import numpy as np
import pytest

from kurve.metrics.efficiency import delta_se
from kurve.types import Tally

SPLITS = ("Omni-MATH-Train", "Omni-MATH-Test", "MATH500")
BASE_PASS_AT_256 = (67.2, 69.1, 96.2)
TUNED_PASS_AT_1 = {  # per cent, in the order of the splits
    "GRPO, step 150": (26.1, 25.1, 74.4),
    "GRPO, step 300": (33.6, 27.1, 75.4),
    "GRPO, step 450": (42.5, 28.3, 76.3),
    "PPO": (27.2, 26.8, 75.2),
    "ReMax": (24.4, 23.8, 73.5),
    "RLOO": (28.6, 28.1, 75.0),
    "Reinforce++": (28.2, 28.0, 75.4),
    "DAPO": (31.4, 26.5, 75.6),
}
PUBLISHED = {  # of Omni-MATH-Test, as the table's own numbers give it
    "GRPO, step 150": 44.0, "PPO": 42.3, "ReMax": 45.3, "RLOO": 41.0, "Reinforce++": 41.1, "DAPO": 42.6,
}  # fmt: skip


def with_pass_at(percent: float, correct: int) -> Tally:
    """A thousand problems with n = 256: the given share with `correct` right samples, the rest with none."""
    counts = np.where(np.arange(1000) < round(10 * percent), correct, 0)
    return Tally(tuple(map(str, range(1000))), np.full(1000, 256), counts, np.zeros(1000, dtype=np.int64))


@pytest.mark.parametrize("algorithm", TUNED_PASS_AT_1)
@pytest.mark.parametrize("split", range(3), ids=SPLITS)
def test_delta_se_of_tables_2_and_3(algorithm: str, split: int) -> None:
    base = with_pass_at(BASE_PASS_AT_256[split], correct=1)
    tuned = with_pass_at(TUNED_PASS_AT_1[algorithm][split], correct=256)
    gap = 100 * delta_se(base, tuned, 256).value
    assert gap == pytest.approx(BASE_PASS_AT_256[split] - TUNED_PASS_AT_1[algorithm][split], abs=1e-9)
    if split == 1 and algorithm in PUBLISHED:
        assert round(gap, 1) == PUBLISHED[algorithm]
