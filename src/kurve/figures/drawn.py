"""A figure together with the numbers in it."""

import csv
import io
from dataclasses import dataclass

from matplotlib.figure import Figure

from kurve.types import Table


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure and the values that it shows."""

    figure: Figure
    data: Table
    more: tuple[Table, ...] = ()  # what belongs to it and is not drawn value by value


def csv_bytes(table: Table) -> bytes:
    """The table as CSV in UTF-8: floats in full, nothing where there is no value."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return buffer.getvalue().encode("utf-8", "backslashreplace")
