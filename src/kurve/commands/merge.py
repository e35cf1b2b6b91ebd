"""`kurve merge`: one sample store out of several shards or seeds of the same evaluation."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from kurve.commands.sample import write_evaluation
from kurve.commands.stopping import is_adaptive
from kurve.commands.stored import IMPORTED, PROBLEMS, find_store, stored_config
from kurve.errors import ConfigError
from kurve.figures.files import write_whole
from kurve.store import merge
from kurve.strata import keep_strata, read_strata


def main(cfg: DictConfig) -> None:
    """Merge the named stores into a new one under paths.samples.

    Raises:
        KurveError: the stores differ in more than the seed, or hold the same sample with different text.
    """
    if not isinstance(cfg.samples, ListConfig) or len(cfg.samples) < 2:
        raise ConfigError(f"samples={cfg.samples} must be a list of at least two stores: samples=[first,second]")
    sources = [find_store(cfg, str(reference)) for reference in cfg.samples]
    adaptive = [folder for folder in sources if is_adaptive(folder)]
    if adaptive:
        raise ConfigError(
            f"{adaptive[0]} was drawn adaptively: a problem's number of samples depends on how they fared, and a "
            "store of several such would have no rule that explains it; evaluate with one seed and a larger num_samples"
        )
    merged = merge(sources, Path(cfg.paths.samples))
    drawn_with = next((config for config in map(stored_config, sources) if config is not None), None)
    if drawn_with is not None:
        if OmegaConf.select(drawn_with, "benchmark._target_") == IMPORTED:
            write_whole(merged.folder / PROBLEMS, _problems(sources))
            drawn_with.imported.verdicts = ""  # each import has grades of its own; the verifier judges anew
        write_evaluation(merged.folder, OmegaConf.to_yaml(drawn_with))
    for source in sources:
        keep_strata(merged.folder, read_strata(source))
    console = Console(highlight=False)
    console.print(Text(f"samples  {merged.folder}  ({merged.samples:,} from {len(sources)} stores)"), soft_wrap=True)
    console.print(Text(f"next:    kurve report samples={merged.folder.name}"), soft_wrap=True)


def _problems(sources: Sequence[Path]) -> bytes:
    """The problems of imported stores, each once: their ids are the same only if their questions are."""
    lines = {line for folder in sources for line in (folder / PROBLEMS).read_bytes().splitlines(keepends=True)}
    return b"".join(sorted(lines))
