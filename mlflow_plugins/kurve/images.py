"""Images of runs that MLflow lays side by side: files with the axes of all runs, logged by key at step 0.

MLflow has no histogram chart; its image grid is the one chart that compares pictures of several runs. An image is two
artifacts under `images/`, whose names hold key, step, time and a random part, so that logging twice adds a second one;
here what is there already is left alone.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mlflow import Image, MlflowClient

from kurve.errors import RejectedError
from kurve.tracking import IMAGE_SUFFIX
from mlflow_plugins.kurve.fields import MAX_NAME, text

_FOLDER = "images"  # MLflow's
_ENDINGS = (".png", "+compressed.webp")  # of the whole image, and of the small one that the grid loads


def is_image(file: Path) -> bool:
    """Whether the file is one to be laid beside those of other runs."""
    return file.name.endswith(IMAGE_SUFFIX)


def image_key(folder: str, file: Path) -> str:
    """The key `<folder>/<name>` in the characters that MLflow takes: of letters, ASCII alone."""
    valid = re.sub(r"[^a-zA-Z0-9_\-./ ]", "_", text(f"{folder}/{file.name.removesuffix(IMAGE_SUFFIX)}"))
    return valid[-MAX_NAME:]


def send_images(client: MlflowClient, run_id: str, folder: str, files: Sequence[Path]) -> list[str]:
    """Log the files that the run does not show yet, as `<folder>/<name>` at step 0.

    Returns:
        The keys of all of them.

    Raises:
        RejectedError: one is no picture.
        whatever `connection.errors_of` translates.
    """
    keys = [image_key(folder, file) for file in files]
    kept = {Path(one.path).name for one in client.list_artifacts(run_id, _FOLDER)} if files else set()
    for key, file in zip(keys, files, strict=True):
        if not _is_whole(key, kept):
            client.log_image(run_id, _picture(file), key=key, step=0, synchronous=True)
    return keys


def _is_whole(key: str, kept: set[str]) -> bool:
    stem = f"{key.replace('/', '~')}+step+0+"
    mine = [name for name in kept if name.startswith(stem)]
    whole = [name.removesuffix(_ENDINGS[0]) for name in mine if name.endswith(_ENDINGS[0])]
    return any(f"{name}{_ENDINGS[1]}" in kept for name in whole)


def _picture(file: Path) -> Image:
    try:
        return Image(str(file))
    except OSError as error:
        raise RejectedError(f"{file} is no picture ({error}); draw it again") from error
