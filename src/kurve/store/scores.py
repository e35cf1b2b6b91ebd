"""The store of scores: one log for each scoring model, beside the samples whose log-probabilities it gave."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from kurve.errors import StoreError
from kurve.store.beside import BATCH, BesideSamples
from kurve.store.disk import disk_error, write_atomically
from kurve.store.records import Record, read_score, score_record
from kurve.store.samples import SampleStore
from kurve.types import Score, ScoringModel

_FORMAT = 1


class ScoreStore(BesideSamples):
    """The scores of one model on the samples of one store. A context manager.

    `scores-<fingerprint>.json` says which model it is. The first score of a sample stays: another one differs by the
    rounding of batched arithmetic.
    """

    kind = "scores"
    maker = "scoring model"

    def append_many(self, scores: Iterable[Score]) -> int:
        """Store scores, ten thousand at a time; samples that have one keep it.

        Returns:
            How many were stored.

        Raises:
            StoreError: a sample is not stored, or no space. The scores before the last ten thousand are stored.
        """
        remaining, total = iter(scores), 0
        while batch := tuple(islice(remaining, BATCH)):
            with self._log.mutex:
                new: dict[tuple[str, int], Record] = {}
                for score in batch:
                    mark = self._mark(score.problem_id, score.index, purpose="to score")
                    key = score.problem_id, score.index
                    if not self._tag(*key, mark):
                        new.setdefault(key, score_record(score, mark))
                if new:
                    self._log.write(tuple(new.values()))
            total += len(new)
        return total

    def missing(self, problem_ids: Iterable[str], num_samples: int) -> dict[str, tuple[int, ...]]:
        """The stored samples below `num_samples` without a score, by problem; scored problems are left out."""
        return self._open_indices(list(problem_ids), num_samples, lambda tags: tags == 0)

    def scores(self, problem_ids: Collection[str] | None = None, num_samples: int | None = None) -> Iterator[Score]:
        """The score of every scored sample, once each, in the order they were stored.

        Raises:
            StoreError: a file is damaged.
        """
        return map(read_score, self._lines(problem_ids, num_samples))

    def describe(self, model: ScoringModel) -> None:
        """Keep beside the scores which model gives them.

        Raises:
            StoreError: it cannot be written.
        """
        path = _description(self.folder, self.name)
        document = {"format": _FORMAT, "model": asdict(model)}
        try:
            write_atomically(path, json.dumps(document, indent=2).encode("ascii") + b"\n")
        except OSError as error:
            raise disk_error(error, path, "write") from error


def scoring_models(samples: SampleStore) -> dict[str, ScoringModel]:
    """The models that scored samples of this store, by fingerprint; a set that nothing describes is left out.

    Raises:
        StoreError: the folder cannot be read.
    """
    found = {}
    try:
        for path in sorted(samples.folder.glob("scores-*.json")):
            document = json.loads(path.read_bytes())
            found[path.stem.removeprefix("scores-")] = ScoringModel(**document["model"])
    except OSError as error:
        raise disk_error(error, samples.folder, "read") from error
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it: the next `kurve score` writes it again") from error
    return found


def _description(folder: Path, name: str) -> Path:
    return folder / f"scores-{name}.json"
