"""What a command made, for programs: a line of JSON at the end of the file that KURVE_RESULT names, if it names one."""

import json
import os
from pathlib import Path

from kurve.errors import ConfigError

VARIABLE = "KURVE_RESULT"


def environment(result: Path) -> dict[str, str]:
    """What a command started by another one finds in its environment; it tells what it made in `result`."""
    # The command line sets HYDRA_FULL_ERROR for itself; its child would show stack traces instead of messages.
    mine = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return {**mine, VARIABLE: str(result)}


def tell(command: str, folder: Path, *, paths: dict[str, Path], **facts: str) -> None:
    """Append what was made; without the variable nothing happens.

    Args:
        command: which command it was.
        folder: of the training or the sample store.
        paths: by name what else was made; it lasts as long as the folder.
        facts: more by name, such as `run_id`.

    Raises:
        ConfigError: the file cannot be written.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return
    shown = {key: str(path) for key, path in paths.items()}
    line = json.dumps({"command": command, "folder": str(folder), "paths": shown, "facts": facts})
    try:
        with Path(name).open("a", encoding="ascii") as file:
            file.write(line + "\n")
    except OSError as error:
        raise ConfigError(
            f"{VARIABLE}={name} cannot be written: {error.strerror or error}; name a file in a folder that exists"
        ) from error
