"""The zip of an Inspect log: its members, also those compressed with zstd, which Python reads only from 3.14 on."""

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import zstandard

from kurve.errors import DataError
from kurve.importers.reading import MAX_DOCUMENT, Meter, Values

_ZSTD = 93  # the method's number in APPNOTE.TXT 4.4.5
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_HEADERS = ("header.json", "_journal/start.json")  # the second: of a log whose evaluation did not end
_SAMPLE = re.compile(r"samples/(?P<id>.+)_epoch_(?P<epoch>\d+)(?P<chunked>/sample)?\.json", re.DOTALL)
_PART = re.compile(r"attachments/(\d+)\.json")


class Archive:
    """A log's members. A context manager."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            DataError: it is no zip.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is not a readable Inspect log: {error}") from error
        self._members = {member.filename: member for member in self._zip.infolist()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def header(self) -> object:
        """What the log says of the whole evaluation.

        Raises:
            DataError: it has no header, or a damaged one.
        """
        for name in _HEADERS:
            if name in self._members:
                return self._json(name)
        raise DataError(f"{self.path} has neither {' nor '.join(_HEADERS)}: it is no Inspect log")

    def samples(self, meter: Meter) -> Iterator[tuple[str, Values]]:
        """The samples by epoch, each with its place; of one that was written twice the last counts.

        Raises:
            DataError: a damaged member.
        """
        names = [(int(match["epoch"]), name) for name in self._members if (match := _SAMPLE.fullmatch(name))]
        size = self.path.stat().st_size
        for done, (_, name) in enumerate(sorted(names, key=lambda one: one[0]), start=1):
            place = f"{self.path}, {name}"
            sample = self._json(name)
            if not isinstance(sample, dict):
                raise DataError(f"{place}: expected an object, got {sample!r:.60}")
            if name.endswith("/sample.json"):
                sample["attachments"] = self._attachments(name.removesuffix("sample.json"))
            yield place, sample
            meter.at(size * done // len(names))

    def _attachments(self, folder: str) -> list[object]:
        """The texts that a sample in chunks refers to by number."""
        parts = {int(match[1]): name for name in self._members if (match := _part(name, folder))}
        found: list[object] = []
        for start in sorted(parts):
            chunk = self._json(parts[start])
            found += chunk if isinstance(chunk, list) else []
        return found

    def _json(self, name: str) -> object:
        try:
            return json.loads(self._bytes(name))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path}, {name}: not valid JSON ({error})") from error

    def _bytes(self, name: str) -> bytes:
        member = self._members[name]
        if member.file_size > MAX_DOCUMENT:
            raise DataError(f"{self.path}, {name}: {member.file_size >> 20} MiB, more than one sample can be")
        try:
            return self._unpacked(member) if member.compress_type == _ZSTD else self._zip.read(name)
        except (OSError, zipfile.BadZipFile, NotImplementedError, zlib.error, zstandard.ZstdError) as error:
            raise DataError(f"{self.path}, {name}: damaged ({error}); copy the log again") from error

    def _unpacked(self, member: zipfile.ZipInfo) -> bytes:
        """A zstd member; frames may follow one another."""
        with self.path.open("rb") as file:
            file.seek(member.header_offset)
            header = file.read(_LOCAL_HEADER.size)
            magic, name_length, extra_length = _LOCAL_HEADER.unpack(header.ljust(_LOCAL_HEADER.size))
            if magic != b"PK\x03\x04":
                raise zipfile.BadZipFile("no member where the directory says")
            file.seek(name_length + extra_length, 1)
            packed = file.read(member.compress_size)
        with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
            data = reader.read(member.file_size + 1)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise zipfile.BadZipFile("its checksum does not match")
        return data


def _part(name: str, folder: str) -> re.Match[str] | None:
    return _PART.fullmatch(name.removeprefix(folder)) if name.startswith(folder) else None
