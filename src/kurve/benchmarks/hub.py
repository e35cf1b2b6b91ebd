"""Read the rows of a dataset from the Hugging Face hub, at a fixed revision."""

from kurve.benchmarks.files import Row
from kurve.errors import ConfigError, DataError

_WITHOUT_HUB = "benchmark.path=<file> reads a local .jsonl, .jsonl.gz or .parquet file instead"


def read(dataset: str, *, subset: str | None, split: str, revision: str | None, data_files: str | None) -> list[Row]:
    """All rows of one split, in order.

    Args:
        dataset: hub id, or a loader name such as `json` together with `data_files`.
        subset: the dataset's configuration, if it has several.
        split: its split.
        revision: hub commit or tag; with `data_files` the URL must carry it.
        data_files: URL of the one file to load.

    Raises:
        ConfigError: the `datasets` package is missing.
        DataError: the dataset cannot be fetched or has no such subset or split.
    """
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"reading {dataset!r} from the Hugging Face hub needs the `datasets` package, which "
            f"`pip install 'kurve[vllm]'` brings; {_WITHOUT_HUB}"
        ) from error
    try:
        if data_files:
            table = datasets.load_dataset(dataset, data_files=data_files, split=split)
        else:
            table = datasets.load_dataset(dataset, subset, split=split, revision=revision)
        rows = [Row(f"{data_files or dataset} [{split}], row {n}", dict(row)) for n, row in enumerate(table, start=1)]
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        what = data_files or f"{dataset} (subset {subset}, split {split}, revision {revision})"
        raise DataError(f"cannot load {what}: {str(error).strip() or type(error).__name__}; {_WITHOUT_HUB}") from error
    if not rows:
        raise DataError(f"{dataset} [{split}] holds no rows")
    return rows
