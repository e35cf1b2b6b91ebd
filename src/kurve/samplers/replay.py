"""Yield samples that were drawn before: for tests, and for verifying again without a model."""

import dataclasses
import io
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kurve.errors import ConfigError, DataError, SamplingError
from kurve.types import Prompt, Sample, SampleRequest

_FIELDS = {field.name: field for field in dataclasses.fields(Sample)}
_NEEDED = ("problem_id", "index", "text", "finish_reason", "num_tokens")
# As a sample store writes them, beside the fields' own names; the text may be a list of strings to join.
_SHORT = dict(zip("pitfnslhev", _FIELDS, strict=True))
_NAMED = 5  # missing samples that a message names


class ReplaySampler:
    """Answers requests from samples at hand; all of them are held in memory.

    Args:
        samples: samples, or a JSONL file (`.zst` too) with one sample a line and the fields of `Sample`, or a folder,
            a sample store for instance, whose `samples*.jsonl` and `samples*.jsonl.zst` files are read.

    Raises:
        ConfigError: the path does not exist or holds no such file.
    """

    engine = "replay"
    ready_at: float | None = None

    def __init__(self, *, samples: str | Path | Iterable[Sample]) -> None:
        self._files = _files(Path(samples)) if isinstance(samples, (str, Path)) else []
        self._given = () if isinstance(samples, (str, Path)) else samples
        self._held: dict[tuple[str, int], Sample] | None = None

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse problems of which no sample is stored.

        Raises:
            ConfigError: the problems.
            DataError: a malformed line, with its file and number.
        """
        stored = {problem_id for problem_id, _ in self._samples()}
        absent = [prompt.problem_id for prompt in prompts if prompt.problem_id not in stored]
        if absent:
            raise ConfigError(
                f"no stored samples for {len(absent)} of {len(prompts)} problems ({_some(absent)}); "
                "replay the samples of this benchmark, or restrict the benchmark"
            )

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Yield the requested samples in order; see `Sampler.sample`."""
        held = self._samples()
        self.ready_at = time.monotonic()
        for request in requests:
            problem_id = request.prompt.problem_id
            absent = [f"{problem_id}/{i}" for i in request.indices if (problem_id, i) not in held]
            if absent:
                raise SamplingError(
                    f"{len(absent)} samples of problem {problem_id!r} are not stored ({_some(absent)}); "
                    "lower num_samples or sample them with an engine"
                )
            for index in request.indices:
                yield held[problem_id, index]

    def _samples(self) -> dict[tuple[str, int], Sample]:
        if self._held is None:
            held: dict[tuple[str, int], Sample] = {}
            for sample in (*self._given, *(sample for file in self._files for sample in _read(file))):
                known = held.setdefault((sample.problem_id, sample.index), sample)
                if known.text != sample.text:
                    raise DataError(
                        f"two different samples {sample.index} of problem {sample.problem_id!r}; "
                        "replay one store at a time"
                    )
            self._held = held
        return self._held


def _files(path: Path) -> list[Path]:
    path = path.expanduser()
    if path.is_file():
        return [path]
    found = sorted((*path.glob("samples*.jsonl"), *path.glob("samples*.jsonl.zst"))) if path.is_dir() else []
    if not found:
        raise ConfigError(f"sampler.samples={path}: no such JSONL file, and no folder with samples*.jsonl files")
    return found


def _read(path: Path) -> Iterator[Sample]:
    try:
        with path.open("rb") as raw, _text(path, raw) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse(line, f"{path}:{number}")
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _text(path: Path, raw: io.BufferedReader) -> io.TextIOWrapper:
    if path.suffix != ".zst":
        return io.TextIOWrapper(raw, encoding="utf-8", errors="surrogatepass")
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    return io.TextIOWrapper(reader, encoding="utf-8", errors="surrogatepass")


def _parse(line: str, where: str) -> Sample:
    try:
        row = json.loads(line)
        if "p" in row:
            row = {_SHORT[key]: value for key, value in row.items() if key in _SHORT}
            row["text"] = "".join(row["text"])
        sample = Sample(**{name: value for name, value in row.items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise DataError(f"{where}: not a sample; a line has {', '.join(_NEEDED)} ({error})") from error
    kinds = isinstance(sample.problem_id, str) and isinstance(sample.text, str)
    if not (kinds and type(sample.index) is int and sample.index >= 0 and type(sample.num_tokens) is int):
        raise DataError(f"{where}: problem_id and text must be strings, index and num_tokens whole numbers")
    return sample


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
