"""Writing files so that a crash leaves the old one or the new one, and saying what a failure means."""

import errno
import os
from pathlib import Path

from kurve.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


def disk_error(error: OSError, path: Path, doing: str) -> StoreError:
    """The StoreError for a failed operation on `path`: what failed and what to do next."""
    what = f"cannot {doing} {path}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreError(
            f"{what}; what was stored before is intact: free some space (or raise the quota or file size limit) "
            "and start again, only what is missing is drawn"
        )
    if error.errno in _FORBIDDEN:
        return StoreError(f"{what}; make the folder writable for this user or choose another folder for the stores")
    return StoreError(f"{what}; check the disk, then start again: only what is missing is drawn")


def write_atomically(path: Path, data: bytes, *, sync: bool = True, mode: int = 0o666) -> None:
    """Replace the file whole, or leave it as it was.

    Args:
        path: of the file.
        data: all of it.
        sync: make it survive a power failure.
        mode: permissions, less those that the user's umask takes away.

    Raises:
        OSError: it could not be written; the half-written copy is gone.
    """
    half = path.with_name(path.name + ".tmp")
    try:
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        half.replace(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file that nobody changes any more, or a copy where the file system gives it none.

    Raises:
        OSError: it could not be read or written.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
            raise
        write_atomically(target, source.read_bytes())


def sync_folder(folder: Path) -> None:
    """Make renames and new files in `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)
