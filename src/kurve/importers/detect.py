"""Which files `path=` names, and of which format they are."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from kurve.errors import ConfigError, DataError
from kurve.importers import evalplus, inspect_log, lighteval, limit_of_rlvr, lm_eval, nemo_skills, rows
from kurve.importers.imported import Importer
from kurve.importers.reading import peek

AUTO = "auto"
_IMPORTERS: tuple[Importer, ...] = (inspect_log, lm_eval, lighteval, limit_of_rlvr, nemo_skills, evalplus, rows)
FORMATS: Mapping[str, Importer] = {importer.NAME: importer for importer in _IMPORTERS}
_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".eval", ".parquet", ".csv")


def find_files(given: Sequence[str]) -> list[Path]:
    """The files that paths, folders and patterns such as `runs/*/samples_*.jsonl` name, each once, numbers in order.

    Raises:
        ConfigError: something does not exist, or a folder holds no file that could be read.
    """
    found: list[Path] = []
    for one in given:
        path = Path(one).expanduser()
        if path.is_dir():
            inside = [file for file in path.rglob("*") if file.is_file() and file.name.lower().endswith(_SUFFIXES)]
            if not inside:
                raise ConfigError(f"path={path} holds no file ending in {', '.join(_SUFFIXES)}")
            found += sorted(inside, key=_natural)
        elif path.is_file():
            found.append(path)
        elif matches := _matches(path):
            found += sorted(matches, key=_natural)
        else:
            raise ConfigError(f"path={one} does not exist (looked in {Path.cwd()})")
    return list(dict.fromkeys(path.absolute() for path in found))


def find_format(name: str, files: Sequence[Path], *, named: bool) -> tuple[Importer, list[Path]]:
    """The format of the files, and those of them to read, in order.

    Args:
        name: of the format, or `auto`.
        files: as `find_files` gives them.
        named: whether each was named by itself; then each must be of the format. Of a folder others are left alone.

    Raises:
        ConfigError: there is no such format.
        DataError: no file is of the format, a named one is not, or they are of several formats.
    """
    if name != AUTO and name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected {AUTO}, {', '.join(FORMATS)}"
        raise ConfigError(f"format={name} is not known; {hint}")
    recognised = {path: _formats(path, named=named) for path in files}
    if name == AUTO:
        name = _common(recognised, named=named)
    mine = [path for path, formats in recognised.items() if name in formats or (named and name == rows.NAME)]
    strange = [path for path in files if path not in mine]
    if not mine or (named and strange):
        raise DataError(f"{(strange or files)[0]} is not of format={name}; {_expected(name)}")
    return FORMATS[name], FORMATS[name].gather(mine)


def _formats(path: Path, *, named: bool) -> list[str]:
    """The formats that recognise a file, most special first."""
    try:
        seen = peek(path)
    except DataError:
        if named:
            raise
        return []  # of a folder: a log, a damaged or an empty file beside the samples
    return [importer.NAME for importer in _IMPORTERS if importer.recognises(seen)]


def _common(recognised: Mapping[Path, Sequence[str]], *, named: bool) -> str:
    """The one format of the files; plain rows only where there is nothing else."""
    special = {formats[0]: path for path, formats in recognised.items() if formats and formats[0] != rows.NAME}
    unknown = [path for path, formats in recognised.items() if not formats]
    if len(special) > 1:
        held = ", ".join(f"{name} ({path.name})" for name, path in special.items())
        raise DataError(f"the files are of several formats: {held}; import one at a time, or name it: format=...")
    if special:
        return next(iter(special))
    if unknown and (named or len(unknown) == len(recognised)):
        raise DataError(_unknown(unknown[0]))
    return rows.NAME


def _unknown(path: Path) -> str:
    seen = peek(path)
    if {"n", "c"} <= seen.keys:
        return f"{path} holds counts, not samples; kurve compare reads it: kurve compare base={path} tuned=..."
    if seen.kind == "json" and "results" in seen.keys:
        return f"{path} holds results, not samples; lm-evaluation-harness writes these with --log_samples"
    held = f"; it has {', '.join(sorted(seen.keys)[:12])}" if seen.keys else ""
    return (
        f"{path} is of no format that is known ({', '.join(FORMATS)}){held}. For rows of another program name the "
        "columns: format=rows columns.text=<column> columns.id=<column>"
    )


def _expected(name: str) -> str:
    doc = FORMATS[name].recognises.__doc__ or ""
    return f"expected: {doc.strip().rstrip('.')[:1].lower()}{doc.strip().rstrip('.')[1:]}"


def _matches(pattern: Path) -> list[Path]:
    try:
        found = Path(pattern.anchor or ".").glob(str(pattern.relative_to(pattern.anchor)))
        return [path for path in found if path.is_file()]
    except ValueError as error:
        raise ConfigError(f"path={pattern} is no pattern for files: {error}") from error


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `rs2` before `rs10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]
