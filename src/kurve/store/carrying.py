"""What was found out about samples, brought along when their stores are merged: verdicts, reviews and scores.

Each set stays under its maker's name, as a union by (problem, index). Where two sources have a record of one maker on
one sample, that of the first stays.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kurve.store.listing import list_verdicts
from kurve.store.reviews import ReviewStore, list_judges
from kurve.store.samples import SampleStore
from kurve.store.scores import ScoreStore, scoring_models
from kurve.store.verdicts import VerdictStore
from kurve.types import CotVerdict, Score, Verdict

Places = Mapping[str, NDArray[np.int64]]  # problem id -> new index by old index
_Said = TypeVar("_Said", Verdict, CotVerdict, Score)


def carry(merged: SampleStore, sources: Sequence[tuple[SampleStore, Places]]) -> None:
    """Store what the sources hold beside their samples; what is there already stays.

    Args:
        merged: the store that has all their samples, also open for reading only.
        sources: and where their samples went.

    Raises:
        StoreError: a source is damaged, somebody judges the merged store, or no space.
    """
    for source, places in sources:
        for verifier in list_verdicts(source.folder):
            with (
                VerdictStore.open(source, verifier, read_only=True) as given,
                VerdictStore.open(merged, verifier) as kept,
            ):
                kept.append_many(_new(given.verdicts(), places, kept.has))
        for name, model in scoring_models(source).items():
            with ScoreStore.open(source, name, read_only=True) as found, ScoreStore.open(merged, name) as held:
                held.describe(model)
                held.append_many(_new(found.scores(), places, held.has))
        for judge in list_judges(source):
            with ReviewStore.open(source, judge, read_only=True) as said, ReviewStore.open(merged, judge) as noted:
                for verdict in _new(said.verdicts().values(), places, noted.has):
                    noted.append(verdict)


def _new(said: Iterable[_Said], places: Places, is_held: Callable[[str, int], bool]) -> Iterable[_Said]:
    """What was said, of the samples under their new indices, where nothing is held yet."""
    for one in said:
        place = int(places[one.problem_id][one.index])
        if not is_held(one.problem_id, place):
            yield replace(one, index=place)
