"""What the tests of all formats share: the files of the tools, and how to read one."""

from pathlib import Path

from kurve.importers.detect import find_files, find_format
from kurve.importers.imported import Imported, LeftOut, Options
from kurve.importers.reading import Meter
from kurve.types import Outcome

DATA = Path(__file__).resolve().parent / "data"
C, W, N = Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER
PEARS, EGGS, COINS = (
    "Ann has 3 pears and gets 4 more. How many pears has she?",
    "A box holds 6 eggs. How many eggs do 7 boxes hold?",
    "Ben had 81 coins and lost 72. How many are left?",
)


def read(path: Path | str, *, grader: str | None = None, **columns: str | None) -> tuple[list[Imported], list[LeftOut]]:
    """All samples of what a path names, by the format it is recognised as, and the rows that are none."""
    given = str(DATA / path)
    importer, files = find_format("auto", find_files([given]), named=Path(given).is_file())
    rows = [row for file in files for row in importer.read(file, Options(grader, columns), Meter())]
    return [r for r in rows if isinstance(r, Imported)], [r for r in rows if isinstance(r, LeftOut)]


def taken_for(path: Path | str) -> str:
    """The format that a path is recognised as."""
    given = str(DATA / path)
    return find_format("auto", find_files([given]), named=Path(given).is_file())[0].NAME
