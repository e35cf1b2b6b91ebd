"""Figures as files that are the same byte for byte when drawn again."""

import io
import os
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `<name>.png` (150 dots an inch) and `<name>.svg` into the folder, each whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with matplotlib.rc_context({"svg.hashsalt": "kurve", "svg.fonttype": "path"}):  # else ids differ from run to run
        write_whole(png, _drawn(figure, "png", {"Software": None}))
        write_whole(svg, _drawn(figure, "svg", {"Date": None}))
    return [png, svg]


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


def _drawn(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()
