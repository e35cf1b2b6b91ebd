import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from kurve.errors import StoreError
from kurve.store import SampleStore
from kurve.store.segments import Segment, seal
from kurve.types import Sample
from tests.store.support import SPEC, sample, small_disk

WRITER = """
import sys
from tests.store.support import SPEC, sample
from kurve.store import SampleStore
import kurve.store.log
kurve.store.log.SEGMENT_BYTES = 30_000
with SampleStore.open(sys.argv[1], SPEC) as store:
    for index in store.missing(["p"], 1_000_000)["p"]:
        store.append(sample("p", index, text="é" * (index % 300)))
        print(index, flush=True)
"""


def test_nothing_acknowledged_is_lost_and_nothing_is_doubled_by_kill_9(tmp_path: Path) -> None:
    rng = random.Random(5)
    acknowledged: list[int] = []
    for _ in range(20):
        log = tmp_path / "acknowledged"
        with log.open("wb") as out:
            writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "stores")], stdout=out)
            deadline = time.monotonic() + 30
            while not log.stat().st_size and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(rng.random() * 0.1)
            writer.send_signal(signal.SIGKILL)
            assert writer.wait() == -signal.SIGKILL
        acknowledged += [int(line) for line in log.read_bytes().split(b"\n")[:-1]]
    assert len(acknowledged) == len(set(acknowledged)) > 20
    with SampleStore.open(tmp_path / "stores", SPEC) as store:
        stored = [s.index for s in store.samples()]
        assert all(s.text == "é" * (s.index % 300) for s in store.samples())
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)


def test_a_line_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append_many([sample(index=0), sample(index=1)])
        path = store.folder / "samples-0000.jsonl"
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        with SampleStore.open(tmp_path, SPEC, read_only=True) as store:
            assert [s.index for s in store.samples()] == [0]
        assert path.stat().st_size == end  # a reader changes nothing
    for end in (first, first + 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        with SampleStore.open(tmp_path, SPEC) as store:
            assert store.missing([sample().problem_id], 2) == {sample().problem_id: (1,)}
            store.append(sample(index=1))
        assert path.read_bytes() == whole


def test_damage_inside_a_plain_file_is_never_silent(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append_many([sample(index=i) for i in range(3)])
        path = store.folder / "samples-0000.jsonl"
    whole = path.read_bytes()
    for place in range(whole.rindex(b"\n", 0, -1)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StoreError, match=r"samples-0000\.jsonl is damaged at line [12]"):
            SampleStore.open(tmp_path, SPEC, read_only=True)
    path.write_bytes(whole.split(b"\n", 1)[1])  # the advice of the message: drop the line
    with SampleStore.open(tmp_path, SPEC) as store:
        assert store.missing([sample().problem_id], 3) == {sample().problem_id: (0,)}


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleStore:
    """Three full segments and one in use, closed."""
    monkeypatch.setattr("kurve.store.log.SEGMENT_BYTES", 1200)
    with SampleStore.open(tmp_path, SPEC) as store:
        for index in range(35):
            store.append(sample("p", index, text=f"{index:3}" * 3))
    assert (store.folder / "samples-0002.jsonl.zst").exists()
    return store


def whole_read(folder: Path) -> list[Sample]:
    with SampleStore.open_folder(folder) as reader:
        return list(reader.samples())


def refused_or_read(folder: Path) -> str | list[Sample]:
    try:
        return whole_read(folder)
    except StoreError as error:
        return str(error)


def reopened(store: SampleStore) -> list[int]:
    with SampleStore.open_folder(store.folder) as reader:
        seen = [s.index for s in reader.samples()]
        assert reader.count() == len(seen)
    with SampleStore.open_folder(store.folder, read_only=False) as writer:
        assert [s.index for s in writer.samples()] == seen
    assert not list(store.folder.glob("*.tmp"))
    return seen


def test_sealed_segments_read_the_same(sealed: SampleStore) -> None:
    assert reopened(sealed) == list(range(35))


def test_a_crash_at_each_step_of_sealing_counts_every_sample_once(sealed: SampleStore) -> None:
    packed = sealed.folder / "samples-0001.jsonl.zst"
    plain = sealed.folder / "samples-0001.jsonl"
    content = zstandard.ZstdDecompressor().decompress(packed.read_bytes())
    plain.write_bytes(content)  # renamed, the plain file not yet removed
    assert reopened(sealed) == list(range(35))
    assert not plain.exists()
    (sealed.folder / "samples-0001.index").unlink()  # removed, the index not yet written
    assert reopened(sealed) == list(range(35))
    assert (sealed.folder / "samples-0001.index").exists()
    half = packed.read_bytes()[:50]
    packed.unlink()
    plain.write_bytes(content)
    packed.with_name(packed.name + ".tmp").write_bytes(half)  # the compressed copy half written
    assert reopened(sealed) == list(range(35))
    assert packed.exists()


def test_a_stale_or_damaged_index_is_made_anew(sealed: SampleStore) -> None:
    one, two = (sealed.folder / f"samples-000{n}.index" for n in (0, 1))
    shutil.copy(one, two)
    one.write_bytes(one.read_bytes()[:-1] + b"\x07")
    assert reopened(sealed) == list(range(35))
    one.write_bytes(b"")
    assert reopened(sealed) == list(range(35))


def test_a_damaged_sealed_segment_is_never_silent(sealed: SampleStore) -> None:
    path = sealed.folder / "samples-0001.jsonl.zst"
    whole, intact = path.read_bytes(), whole_read(sealed.folder)
    readings = []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        readings.append(refused_or_read(sealed.folder))
    refusals = [reading for reading in readings if isinstance(reading, str)]
    assert all("samples-0001.jsonl.zst is damaged" in refusal for refusal in refusals)
    assert all(reading == intact for reading in readings if not isinstance(reading, str))
    assert len(refusals) > 0.9 * len(whole)  # the rest are bits that zstd does not use
    for end in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(StoreError, match="delete it"):
            SampleStore.open_folder(sealed.folder)
    path.unlink()  # the advice of the message
    with SampleStore.open_folder(sealed.folder, read_only=False) as store:
        absent = store.missing(["p"], 35)["p"]
        store.append_many(sample("p", index, text="again") for index in absent)
    assert sorted(reopened(sealed)) == list(range(35))


def test_a_segment_copied_from_elsewhere_is_refused(sealed: SampleStore) -> None:
    shutil.copy(sealed.folder / "samples-0000.jsonl.zst", sealed.folder / "samples-0009.jsonl.zst")
    with pytest.raises(StoreError, match="another line already holds"):
        SampleStore.open_folder(sealed.folder)


def test_a_full_disk_loses_nothing_and_goes_on_after_space_is_freed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "300k") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(100_000))
        with SampleStore.open(disk, SPEC) as store:
            with pytest.raises(StoreError, match="free some space"):
                any(not store.append(sample("p", i, text="x" * 700)) for i in range(10_000))
            index = store.count()
            assert index > 20
            assert store.count() == index == len(list(store.samples()))
        assert (store.folder / "samples-0000.jsonl").read_bytes().endswith(b"\n")
        ballast.unlink()
        with SampleStore.open(disk, SPEC) as store:
            assert store.missing(["p"], index + 2) == {"p": (index, index + 1)}
            store.append(sample("p", index, text="x" * 700))
        assert reopened(store) == list(range(index + 1))


def test_a_disk_too_full_to_compress_keeps_the_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kurve.store.log.SEGMENT_BYTES", 100_000)
    with small_disk(tmp_path / "disk", "200k") as disk:
        (disk / "ballast").write_bytes(bytes(72_000))
        with SampleStore.open(disk, SPEC) as store:
            noise = random.Random(1)
            while not list(store.folder.glob("*0001*")) and store.count() < 100:
                text = "".join(chr(noise.randrange(33, 126)) for _ in range(1500))
                try:
                    store.append(sample("p", store.count(), text=text))
                except StoreError:
                    break
            count = store.count()
        assert (store.folder / "samples-0000.jsonl").exists()
        assert not (store.folder / "samples-0000.jsonl.zst").exists()
        (disk / "ballast").unlink()
        assert reopened(store) == list(range(count))


def test_a_file_size_limit_is_a_clear_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with SampleStore.open(tmp_path, SPEC) as store:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
            with pytest.raises(StoreError, match="file size limit"):
                store.append_many(sample("p", index) for index in range(200))
            assert store.append_many(sample("p", index) for index in range(20)) == 20
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
    assert reopened(store) == list(range(20))


def test_sealing_an_already_damaged_segment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples-0000.jsonl").write_bytes(b'{"p":"a","i":0,"t":"","c":"00000000"}\n')
    with pytest.raises(StoreError, match="damaged at line 1"):
        seal(Segment(tmp_path, "samples", 0))
    assert [path.name for path in tmp_path.iterdir()] == ["samples-0000.jsonl"]
