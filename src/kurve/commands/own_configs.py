"""A user's own config folders: benchmarks, prompts, algorithms that are not part of the package."""

import os
from pathlib import Path

from kurve.errors import ConfigError

VARIABLE = "KURVE_CONF"


def own_folders() -> list[Path]:
    """Absolute folders that KURVE_CONF names, with `:` between them as in PATH; none if it is not set.

    Raises:
        ConfigError: one is no folder.
    """
    given = [Path(word).expanduser().absolute() for word in os.environ.get(VARIABLE, "").split(os.pathsep) if word]
    for folder in given:
        if not folder.is_dir():
            raise ConfigError(f"{VARIABLE} names {folder}, which is no folder; correct it or unset it")
    return given
