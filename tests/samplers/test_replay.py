import dataclasses
import json
from pathlib import Path

import pytest

from kurve.errors import ConfigError, DataError, SamplingError
from kurve.samplers.replay import ReplaySampler
from kurve.types import Prompt, Sample, SamplingSpec
from tests.samplers.requests import PROMPTS, requests

SAMPLES = [Sample(p.problem_id, i, f"text \ud800 {i}", "stop", 3, seed=i) for p in PROMPTS for i in range(4)]


def write(path: Path) -> Path:
    path.write_text("".join(json.dumps(dataclasses.asdict(s)) + "\n" for s in SAMPLES), encoding="utf-8")
    return path


def test_stored_samples_come_back_as_they_were(tmp_path: Path) -> None:
    assert list(ReplaySampler(samples=write(tmp_path / "samples.jsonl")).sample(requests(4))) == SAMPLES
    assert list(ReplaySampler(samples=tmp_path).sample(requests(4))) == SAMPLES


def test_a_sample_store_is_read(tmp_path: Path) -> None:
    from kurve.store.samples import SampleStore

    spec = SamplingSpec("m", "", "", "b", "", "p", "", 1.0, 1.0, 0, 0.0, 9, (), "vllm", "0")
    with SampleStore.open(tmp_path, spec) as store:
        store.append_many(SAMPLES)
        assert list(ReplaySampler(samples=store.folder).sample(requests(4))) == SAMPLES


def test_compressed_files_are_read(tmp_path: Path) -> None:
    import zstandard

    plain = write(tmp_path / "plain.jsonl").read_bytes()
    half = len(plain) // 2
    frames = zstandard.compress(plain[:half]) + zstandard.compress(plain[half:])
    (tmp_path / "samples.jsonl.zst").write_bytes(frames)
    assert list(ReplaySampler(samples=tmp_path / "samples.jsonl.zst").sample(requests(4))) == SAMPLES


def test_missing_samples_are_named() -> None:
    with pytest.raises(SamplingError, match=r"2 samples of problem 'eggs'.*eggs/4, eggs/5"):
        list(ReplaySampler(samples=SAMPLES).sample(requests(6)))
    with pytest.raises(ConfigError, match="no stored samples for 1 of 1 problems"):
        ReplaySampler(samples=SAMPLES).check([Prompt("other", text="x")])


@pytest.mark.parametrize("line", ["{", "[]", '{"problem_id": "a"}', '{"problem_id": 1, "index": 0}', "[" * 100_000])
def test_a_malformed_line_is_refused_with_file_and_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "samples.jsonl")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"samples.jsonl:13"):
        list(ReplaySampler(samples=path).sample(requests(1)))


def test_a_path_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such JSONL file"):
        ReplaySampler(samples=tmp_path)
