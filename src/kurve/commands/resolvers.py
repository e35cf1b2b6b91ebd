"""What `conf/` asks kurve for: `${kurve.<name>:}`."""

import os
import secrets
from pathlib import Path

from omegaconf import OmegaConf


def register_resolvers() -> None:
    """Make `${kurve.absolute:path}`, `${kurve.run_id:}` and `${kurve.gpus:}` known to OmegaConf; safe to repeat."""

    def absolute(path: str) -> str:
        return str(Path(path).expanduser().absolute())

    def run_id() -> str:
        rank = os.environ.get("RANK", "0")  # of several processes that train together, each logs into its own folder
        return secrets.token_hex(3) + (f"-process{rank}" if rank != "0" else "")

    def gpus() -> int:
        return min(1, len(list(Path("/dev").glob("nvidia[0-9]*"))))

    OmegaConf.register_new_resolver("kurve.gpus", gpus, replace=True)
    OmegaConf.register_new_resolver("kurve.absolute", absolute, replace=True)
    OmegaConf.register_new_resolver("kurve.run_id", run_id, replace=True, use_cache=True)
