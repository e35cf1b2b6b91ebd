"""The journal of a spool: on disk before the call returns, whole after a crash, private."""

import errno
import os
from pathlib import Path

import pytest

from mlflow_plugins.kurve.spool import journal
from mlflow_plugins.kurve.spool.folder import IdMap, ServerFolder
from mlflow_plugins.kurve.spool.ids import experiment_id, ids_in, is_made_here, new_id
from mlflow_plugins.kurve.spool.journal import Record, Writer, read_lines


def a_record(number: int, **body: object) -> Record:
    return Record("LogMetric", {"run_id": "r", "key": "loss", "step": number, **body}, 1_700_000_000_000 + number)


def written(folder: Path, count: int = 3) -> Writer:
    writer = Writer.create(folder)
    for number in range(count):
        writer.append(a_record(number))
    return writer


def records(folder: Path) -> list[Record | None]:
    return [line.record for line in read_lines(folder / journal.JOURNAL)]


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    writer = written(tmp_path)
    assert records(writer.folder) == [a_record(number) for number in range(3)]
    assert writer.length == journal.size_of(writer.folder)


def test_text_that_is_no_unicode_survives(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path)
    writer.append(a_record(0, value="\ud800 \x00 \u202e \n"))
    assert records(writer.folder) == [a_record(0, value="\ud800 \x00 \u202e \n")]


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_torn_last_line_is_left_out_and_the_rest_is_read(tmp_path: Path, cut: int) -> None:
    writer = written(tmp_path)
    os.truncate(writer.folder / journal.JOURNAL, writer.length - cut)
    assert records(writer.folder) == [a_record(0), a_record(1)]


def test_a_damaged_line_is_told_and_spoils_no_other(tmp_path: Path) -> None:
    writer = written(tmp_path)
    path = writer.folder / journal.JOURNAL
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = list(read_lines(path))
    assert [line.record for line in found] == [a_record(0), None, a_record(2)]
    assert "checksum" in found[1].complaint


def test_a_disk_that_takes_half_a_line_keeps_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = written(tmp_path, 1)

    def full(file: int, data: bytes) -> None:
        os.write(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "_write_all", full)
        with pytest.raises(OSError, match="No space"):
            writer.append(a_record(1))
    writer.append(a_record(2))
    assert records(writer.folder) == [a_record(0), a_record(2)]


def test_only_its_user_may_read_it(tmp_path: Path) -> None:
    server = ServerFolder.of(tmp_path / "spool", "http://user:secret@host:5000")
    server.make("http://user:secret@host:5000")
    writer = written(server.path)
    journal.remember_sent(writer.folder, 1)
    journal.set_aside(writer.folder, a_record(0))
    server.ids.put(new_id(), "r")
    made = list((tmp_path / "spool").rglob("*"))
    assert len(made) > 6
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "spool", *made])
    assert not any(b"secret" in path.read_bytes() for path in made if path.is_file())
    assert server.uri == "http://host:5000"


def test_a_journal_is_removed_when_it_is_sent_and_its_process_is_gone(tmp_path: Path) -> None:
    writer = written(tmp_path)
    journal.remember_sent(writer.folder, writer.length)
    journal.retire(writer.folder)
    assert journal.journals(tmp_path) == [writer.folder]
    writer.close()
    journal.remember_sent(writer.folder, 0)
    journal.retire(writer.folder)
    assert journal.journals(tmp_path) == [writer.folder]
    journal.remember_sent(writer.folder, writer.length)
    journal.retire(writer.folder)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_with_something_in_quarantine_stays(tmp_path: Path) -> None:
    writer = written(tmp_path)
    journal.remember_sent(writer.folder, writer.length)
    journal.set_aside(writer.folder, a_record(0))
    writer.close()
    journal.retire(writer.folder)
    assert journal.journals(tmp_path) == [writer.folder]


def test_two_processes_share_what_ids_mean(tmp_path: Path) -> None:
    first, second, made = IdMap(tmp_path / "ids.txt"), IdMap(tmp_path / "ids.txt"), new_id()
    assert second.get(made) is None
    first.put(made, "a1b2")
    assert second.get(made) == "a1b2"
    assert second.translate(f"see {made}, not x{made}f") == f"see a1b2, not x{made}f"
    assert second.names_of("a1b2") == {made, "a1b2"}


def test_a_torn_line_of_the_ids_costs_that_line_alone(tmp_path: Path) -> None:
    made, other = new_id(), new_id()
    (tmp_path / "ids.txt").write_text(f"{made} a1\n{other} b")
    ids = IdMap(tmp_path / "ids.txt")
    assert (ids.get(made), ids.get(other)) == ("a1", None)
    IdMap(tmp_path / "ids.txt").put(third := new_id(), "c3")
    assert IdMap(tmp_path / "ids.txt").get(third) == "c3"


def test_provisional_ids_are_told_from_others() -> None:
    made = new_id()
    assert len(made) == 32
    assert is_made_here(made)
    assert not is_made_here("f" * 32)
    assert experiment_id("a") == experiment_id("a") != experiment_id("b")
    assert ids_in(f'{{"run_id": "{made}", "x": "{made}", "sha": "{made}{made}"}}') == [made]


def test_servers_are_kept_apart_but_not_by_password(tmp_path: Path) -> None:
    def of(uri: str) -> Path:
        return ServerFolder.of(tmp_path, uri).path

    assert of("http://host:5000") == of("http://user:password@host:5000/")
    assert of("http://host:5000") != of("http://host:5000/prefix") != of("https://host:5000")
