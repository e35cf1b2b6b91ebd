"""One of the processes of a training: python -m kurve.commands.training_rank RESOLVED, started by accelerate."""

import json
import os
import sys
import time
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from kurve.commands.leaving import leave_with
from kurve.commands.training_plan import rank
from kurve.errors import KurveError

_INTERRUPTED = 130
_PATIENCE = 30.0  # seconds to stop in: one that waits for another that is gone may never hear of it


def main(resolved: Path) -> int:
    """Do this process's part of the training; returns its exit code."""
    leave_with(os.getppid(), _PATIENCE)
    from kurve.commands.train import train

    try:
        train(configured(resolved))
    except KurveError as error:
        failure = {"message": str(error), "time": time.time()}
        (resolved.parent / f"failed-{rank()}.json").write_text(json.dumps(failure), encoding="ascii")
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def configured(resolved: Path) -> DictConfig:
    """The config of the command; Hydra says of its choices what it said in the process that composed it."""
    cfg = OmegaConf.load(resolved)
    assert isinstance(cfg, DictConfig)
    whole = OmegaConf.create({"hydra": OmegaConf.structured(HydraConf)})
    whole.hydra.runtime = OmegaConf.merge(whole.hydra.runtime, cfg.pop("hydra").runtime)
    HydraConfig.instance().set_config(whole)
    OmegaConf.set_struct(cfg, True)
    return cfg


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
