import io
from pathlib import Path

from kurve.import_progress import ImportProgress


def test_the_line_says_what_is_done_of_two_passes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    progress = ImportProgress(total_bytes=100, stream=io.StringIO())
    meter = progress.begin("checking")
    meter.at(50)
    progress.rows(7)
    assert progress.line().startswith("checking: 7 samples, 25%, ")
    meter.finished(tmp_path / "a")
    progress.rows(14)
    assert "50%" in progress.line()
    progress.begin("storing").at(100)
    progress.rows(14)
    assert progress.line().startswith("storing: 14 samples, ")
    assert "%" not in progress.line()
