"""`kurve` in the process of the test, without the seconds a new one takes to start: for what is refused or shown."""

import contextlib
import io
import logging
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from kurve import cli


def run_here(folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the words after `kurve` in a folder; an exception that would be a traceback leaves this function.

    Working folder, environment, log handlers and Hydra are as before afterwards.
    """
    out = io.StringIO()
    loggers = [(one, one.handlers[:], one.level) for one in map(logging.getLogger, (None, "kurve"))]
    before = dict(os.environ)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as err:  # a real file: progress writes to a copy of it
        try:
            with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                os.environ.clear()
                os.environ.update(environment)
                try:
                    code = cli.run(words)
                except SystemExit as left:  # Hydra's --help
                    code = int(left.code or 0)
        finally:
            os.environ.clear()
            os.environ.update(before)
            for logger, handlers, level in loggers:
                for handler in set(logger.handlers) - set(handlers):
                    handler.close()
                logger.handlers = handlers
                logger.setLevel(level)
            HydraConfig.instance().cfg = None  # no job is running any more
        err.seek(0)
        return subprocess.CompletedProcess(list(words), code, out.getvalue(), err.read())
