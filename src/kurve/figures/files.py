"""Figures as files that are the same byte for byte when drawn again."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

# What a format would say of the time or the version, left out. Without the salt, ids in SVG differ from run to run;
# text in PDF stays text, in fonts that journals take (42 is TrueType).
_SILENT: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
_SETTINGS = {"svg.hashsalt": "kurve", "svg.fonttype": "path", "pdf.fonttype": 42}


def save(figure: Figure, folder: Path, name: str, *, kinds: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write `<name>.<kind>` for each kind (png at 150 dots an inch, svg, pdf), each whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind in kinds:
        files.append(folder / f"{name}.{kind}")
        write_whole(files[-1], drawn(figure, kind))
    return files


def drawn(figure: Figure, kind: str) -> bytes:
    """The figure as png, svg or pdf; drawn again, the same bytes."""
    _settle(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):  # type: ignore[arg-type]  # keys as Matplotlib documents them
        figure.savefig(buffer, format=kind, metadata=dict(_SILENT[kind]))
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file, or leave it as it was; a report can be made again, so nothing waits for the disk.

    Raises:
        OSError: it could not be written; the half-written copy is gone.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        half.write_bytes(data)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _settle(figure: Figure) -> None:
    """Lay the figure out once and keep the places, rounded: the solver's last digits differ between processes."""
    if figure.get_layout_engine() is None:
        return
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.get_axes():
        x, y, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(x, 5), round(y, 5), round(width, 5), round(height, 5)), which="original")
