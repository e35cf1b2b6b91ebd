import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kurve.errors import StoreError
from kurve.store import SampleStore, fingerprint
from kurve.store.records import read_sample, sample_record
from kurve.types import Message, Prompt, Sample
from tests.store.support import SPEC, sample, small_disk

any_text = st.text(st.characters(exclude_categories=()), max_size=60)  # surrogates, NULs and newlines included
any_float = st.none() | st.floats()
any_sample = st.builds(
    Sample,
    problem_id=st.text(max_size=20),
    index=st.integers(0, 9_999_999),
    text=any_text,
    finish_reason=any_text,
    num_tokens=st.integers(0, 10**6),
    seed=st.none() | st.integers(-(2**63), 2**64),
    logprob_sum=any_float,
    entropy_mean=any_float,
    engine=any_text,
    engine_version=any_text,
)


@given(any_sample)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_line_gives_back_exactly_the_sample(drawn: Sample) -> None:
    line = sample_record(drawn).line
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert repr(read_sample(line[:-1])) == repr(drawn)  # repr: NaN is equal to itself, -0.0 is not 0.0


@pytest.mark.parametrize(
    "text", ["\ud83d\ude00", "\ud800", "\ud83d" + "\ude00", "a\ud800\ud800\udc00z", "\x00\n\r\u2028", "}" * 99]
)
def test_hostile_text_comes_back_from_the_disk(tmp_path: Path, text: str) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append(sample(text=text))
    with SampleStore.open(tmp_path, SPEC, read_only=True) as store:
        assert [stored.text for stored in store.samples()] == [text]


def test_a_second_start_asks_for_nothing_and_growth_only_for_the_rest(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        assert store.missing(["a", "b"], 128) == {"a": tuple(range(128)), "b": tuple(range(128))}
        assert store.append_many(sample("a", index) for index in range(128)) == 128
    with SampleStore.open(tmp_path, SPEC) as store:
        assert store.missing(["a"], 128) == {}
        assert store.missing(["a"], 64) == {}
        assert store.missing(["a"], 1024) == {"a": tuple(range(128, 1024))}
        assert store.counts() == {"a": 128}


def test_holes_are_missing(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append_many([sample("a", 4), sample("a", 1)])
        assert store.missing(["a"], 6) == {"a": (0, 2, 3, 5)}


def test_the_same_sample_is_stored_once(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        assert store.append(sample())
        assert not store.append(sample())
        assert store.append_many([sample(), sample(index=1), sample(index=1)]) == 1
        assert store.count() == len(list(store.samples())) == 2


def test_another_sample_under_a_stored_key_is_refused(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append(sample())
        with pytest.raises(StoreError, match="already holds another sample 0 of problem 'gsm8k/test/0'"):
            store.append(sample(text="5"))
        with pytest.raises(StoreError, match="already holds another sample 1"):
            store.append_many([sample(index=1), sample(index=1, text="5")])
        assert list(store.samples()) == [sample()]


@pytest.mark.parametrize("index", [-1, 10_000_000])
def test_an_impossible_index_is_refused(tmp_path: Path, index: int) -> None:
    with SampleStore.open(tmp_path, SPEC) as store, pytest.raises(StoreError, match="outside"):
        store.append(sample(index=index))


def test_samples_are_filtered_by_problem_and_number(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append_many(sample(problem, index) for problem in "abc" for index in range(4))
        assert [(s.problem_id, s.index) for s in store.samples(["c", "a"], 2)] == [
            ("a", 0),
            ("a", 1),
            ("c", 0),
            ("c", 1),
        ]
        assert list(store.samples([])) == []


def test_the_fingerprint_sees_every_field_but_not_the_type_of_a_number() -> None:
    assert fingerprint(replace(SPEC, temperature=1)) == fingerprint(replace(SPEC, temperature=1.0))
    changes = {"model": "x", "temperature": 0.7, "top_k": 5, "stop": (), "seed": "1", "prompt_digest": "x", "lora": "x"}
    assert len({fingerprint(SPEC), *(fingerprint(replace(SPEC, **{k: v})) for k, v in changes.items())}) == 8  # type: ignore[arg-type]


def test_an_edited_spec_is_refused_with_the_differing_fields(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        path = store.folder / "spec.json"
    path.write_text(path.read_text().replace('"temperature": 0.6', '"temperature": 0.7'))
    with pytest.raises(StoreError, match=r"temperature: given 0\.6, stored 0\.7"):
        SampleStore.open(tmp_path, SPEC)
    with pytest.raises(StoreError, match=r"temperature: given 0\.6, stored 0\.7"):
        SampleStore.open(tmp_path, SPEC, read_only=True)
    with pytest.raises(StoreError, match="renamed, or its spec edited"):
        SampleStore.open_folder(path.parent)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": 1, "spec": {}}', '{"format": 9, "spec": {}}'])
def test_a_damaged_spec_is_refused(tmp_path: Path, content: str) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        (store.folder / "spec.json").write_text(content)
    with pytest.raises(StoreError, match=r"spec\.json"):
        SampleStore.open(tmp_path, SPEC)


def test_a_store_is_opened_by_its_folder(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append(sample())
    with SampleStore.open_folder(store.folder) as same:
        assert same.spec == SPEC
        assert same.count() == 1
    with pytest.raises(StoreError, match="not a sample store"):
        SampleStore.open_folder(tmp_path)
    with pytest.raises(StoreError, match="not a sample store"):
        SampleStore.open(tmp_path / "elsewhere", SPEC, read_only=True)


def test_a_second_writer_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC), pytest.raises(StoreError, match=f"written by process {os.getpid()} on "):
        SampleStore.open(tmp_path, SPEC)
    SampleStore.open(tmp_path, SPEC).close()


def test_a_surviving_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from tests.store.support import SPEC; from kurve.store import SampleStore\n"
        f"store = SampleStore.open({str(tmp_path)!r}, SPEC)\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(30); os._exit(0)\n"
        "print(child, flush=True); time.sleep(0.3); os.kill(os.getpid(), 9)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    child = int(writer.stdout.readline())
    writer.wait()
    writer.stdout.close()
    try:
        SampleStore.open(tmp_path, SPEC).close()
    finally:
        os.kill(child, 9)


def test_a_reader_cannot_append(tmp_path: Path) -> None:
    SampleStore.open(tmp_path, SPEC).close()
    with SampleStore.open(tmp_path, SPEC, read_only=True) as store, pytest.raises(StoreError, match="for reading only"):
        store.append(sample())


def test_a_closed_store_cannot_be_appended_to(tmp_path: Path) -> None:
    store = SampleStore.open(tmp_path, SPEC)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append(sample())


def test_a_reader_sees_a_growing_store_without_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kurve.store.log.SEGMENT_BYTES", 20_000)
    with SampleStore.open(tmp_path, SPEC) as writer:
        stop = threading.Event()

        def write() -> int:
            index = 0
            while not stop.is_set():
                writer.append(sample(index=index, text="x" * 200))
                index += 1
            return index

        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(write)
            try:
                deadline = time.monotonic() + 3
                while time.monotonic() < deadline:
                    with SampleStore.open(tmp_path, SPEC, read_only=True) as reader:
                        seen = [stored.index for stored in reader.samples()]
                        assert seen == list(range(reader.count()))
            finally:
                stop.set()
            assert written.result() == writer.count()
        assert len(list(writer.folder.glob("*.zst"))) > 2


def test_refresh_shows_what_came_since(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as writer, SampleStore.open(tmp_path, SPEC, read_only=True) as reader:
        writer.append(sample())
        assert reader.count() == 0
        assert list(reader.samples()) == []
        reader.refresh()
        assert list(reader.samples()) == [sample()]


def test_threads_may_append_together(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda p: [store.append(sample(p, i)) for i in range(200)], "abcd"))
        assert store.counts() == dict.fromkeys("abcd", 200)
    with SampleStore.open(tmp_path, SPEC) as store:
        assert store.count() == 800


def test_prompts_are_kept_once_with_their_question(tmp_path: Path) -> None:
    chat = Prompt("b", messages=(Message("user", "2+\ud8002?"),))
    with SampleStore.open(tmp_path, SPEC) as store:
        store.record_prompts([Prompt("a", "1+1?")], {"a": "one and one"})
    with SampleStore.open(tmp_path, SPEC) as store:
        store.record_prompts([Prompt("a", "1+1?"), chat])
        stored = {prompt.problem_id: prompt for prompt in store.prompts()}
    assert stored["a"].question == "one and one"
    assert stored["b"].messages == chat.messages
    assert len(stored) == 2


def test_a_changed_prompt_under_the_same_id_is_refused(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.record_prompts([Prompt("a", "1+1?")])
        with pytest.raises(StoreError, match="the dataset changed under the same ids"):
            store.record_prompts([Prompt("new", "x"), Prompt("a", "1+2?")])
        with pytest.raises(StoreError, match="differ"):
            store.record_prompts([Prompt("c", "x"), Prompt("c", "y")])
        assert [prompt.problem_id for prompt in store.prompts()] == ["a"]


def test_an_id_that_is_not_unicode_is_refused_before_sampling(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store, pytest.raises(StoreError, match="not valid Unicode"):
        store.record_prompts([Prompt("\ud800", "x")])


def test_a_read_only_disk_can_be_read_and_refuses_a_writer(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        with SampleStore.open(disk, SPEC) as store:
            store.append(sample())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StoreError, match="make the folder writable"):
            SampleStore.open(disk, SPEC)
        with SampleStore.open(disk, SPEC, read_only=True) as store:
            assert list(store.samples()) == [sample()]


def test_a_spec_whose_settings_are_unknown_is_stored_as_unknown(tmp_path: Path) -> None:
    unknown = replace(SPEC, temperature=None, top_p=None, top_k=None, min_p=None, max_tokens=None, stop=None)
    with SampleStore.open(tmp_path, unknown) as store:
        folder = store.folder
    with SampleStore.open_folder(folder) as store:
        assert store.spec == unknown
        assert store.extent(["a"]) == 0
    assert folder.name != fingerprint(SPEC)


def two_stores(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SampleStore, SampleStore]:
    """Two stores of one spec that seal a segment every few samples."""
    monkeypatch.setattr("kurve.store.log.SEGMENT_BYTES", 600)
    return SampleStore.open(root / "one", SPEC), SampleStore.open(root / "two", SPEC)


def sealed(store: SampleStore) -> set[int]:
    """The files of the compressed segments."""
    return {path.stat().st_ino for path in store.folder.glob("samples-*.jsonl.zst")}


def test_sealed_segments_of_another_store_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = two_stores(tmp_path, monkeypatch)
    for index in range(10):
        one.append(sample("p", index))
        two.append(sample("q", index))
    assert len(sealed(two)) >= 2
    min(two.folder.glob("samples-*.index")).unlink()  # lost: it only saves time
    with one, two:
        assert one.take(two) == 10
        assert one.take(two) == 0
        assert sealed(two) <= sealed(one)
        one.append(sample("r"))
    with SampleStore.open_folder(one.folder) as store:
        assert {(s.problem_id, s.index) for s in store.samples()} == {
            *((problem_id, index) for problem_id in ("p", "q") for index in range(10)),
            ("r", 0),
        }
        assert store.count() == 21


def test_of_a_segment_that_overlaps_only_what_is_new_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = two_stores(tmp_path, monkeypatch)
    with one, two:
        one.append(sample("p", 1))
        two.append_many(sample("p", index) for index in range(10))
        assert one.take(two) == 9
    with SampleStore.open_folder(one.folder) as store:
        assert sorted(s.index for s in store.samples()) == list(range(10))


def test_a_file_system_without_hard_links_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    one, two = two_stores(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "link", refuse)
    with one, two:
        two.append_many(sample("p", index) for index in range(10))
        two.append(sample("q"))
        assert one.take(two) == 11
        assert not sealed(one) & sealed(two)
    with SampleStore.open_folder(one.folder) as store:
        assert store.count() == 11
