"""The process that runs `accelerate launch` for `training_launch`: python -m kurve.commands.training_agent FOLDER.

What accelerate and torch's elastic agent say goes to a log, while the training's own processes keep the terminal.
"""

import os
import signal
import sys
from pathlib import Path

from kurve.commands.leaving import leave_with
from kurve.commands.training_launch import LOG, PARENT, RESOLVED, SETTINGS


def main(folder: Path) -> None:
    """Start the processes, and end as they do."""
    leave_with(int(os.environ[PARENT]))
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm sends it to all; the starting process answers it for all
    log = (folder / LOG).open("a", encoding="utf-8", buffering=1)
    sys.stdout = sys.stderr = log  # the descriptors, which the processes inherit, stay as they are

    from accelerate.commands.launch import launch_command, launch_command_parser

    words = ["--config_file", str(folder / SETTINGS), "-m", "kurve.commands.training_rank", str(folder / RESOLVED)]
    launch_command(launch_command_parser().parse_args(words))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
