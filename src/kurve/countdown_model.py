"""The initial model of the embedded study: random weights and a vocabulary of the words that countdown needs."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kurve.errors import ConfigError
from kurve.types import Model

END, PAD, UNKNOWN = "<end>", "<pad>", "<unknown>"
WORDS = (PAD, END, UNKNOWN, "->", ":", ",", "=", "+", "-", "*", "/", *map(str, range(1, 100)))
HEAD = 32  # width of an attention head, the smallest that vLLM serves on CPU
_SPREAD = 0.06  # standard deviation of the first weights; from 0.02 so narrow a network learns half as fast
_MAKER = 1  # raised when the same settings make other files


def initial(
    *,
    name: str = "countdown_initial",
    layers: int = 3,
    heads: int = 3,
    feed_forward: int = 256,
    context: int = 64,
    seed: int = 0,
) -> Model:
    """A Llama model of random weights, made once under `$KURVE_CACHE` (default `~/.cache/kurve`).

    The width is 32 a head; input and output embeddings are tied; weights are float32. The tokenizer knows whole words
    only and writes no beginning of sequence. The revision is a digest of all settings.

    Args:
        name: label in reports.
        layers: of the network.
        heads: of attention in each layer.
        feed_forward: width of each layer's inner projection.
        context: tokens that a prompt and its response may have together.
        seed: of the weights.

    Raises:
        ConfigError: a setting is no such number, a package is missing, or the cache folder cannot be written.
    """
    settings = {"layers": layers, "heads": heads, "feed_forward": feed_forward, "context": context, "seed": seed}
    for key, value in settings.items():
        least = 0 if key == "seed" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"model.{key} is {value!r}; expected a whole number, {least} or more")
    identity = json.dumps({"maker": _MAKER, "words": WORDS, **settings}, sort_keys=True)
    revision = hashlib.sha256(identity.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("KURVE_CACHE") or "~/.cache/kurve").expanduser()
    folder = cache / "models" / f"countdown-{revision}"
    if not (folder / "config.json").is_file():
        try:
            _make(folder, settings)
        except OSError as error:
            raise ConfigError(
                f"the model cannot be written to {folder}: {error}; set KURVE_CACHE to a folder with 10 MB free"
            ) from error
    return Model(name=name, path=str(folder), revision=revision, dtype="float32", context=context)


def _make(folder: Path, settings: dict[str, int]) -> None:
    """Write beside the place and rename, so that a folder that exists is whole; of two at once one wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(work, settings)
        work.chmod(0o755)
        try:
            work.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(into: Path, settings: dict[str, int]) -> None:
    try:
        import torch
        from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise ConfigError(f"making this model needs {error.name}: pip install 'kurve[train]'") from error
    # Not Qwen2: transformers loads any tokenizer of a Qwen2 folder as Qwen2's own, whatever tokenizer.json says.
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=HEAD * settings["heads"],
        intermediate_size=settings["feed_forward"],
        num_hidden_layers=settings["layers"],
        num_attention_heads=settings["heads"],
        num_key_value_heads=settings["heads"],
        max_position_embeddings=settings["context"],
        bos_token_id=None,
        eos_token_id=WORDS.index(END),
        pad_token_id=WORDS.index(PAD),
        initializer_range=_SPREAD,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        network = LlamaForCausalLM(config)
    network.generation_config = GenerationConfig(eos_token_id=WORDS.index(END), pad_token_id=WORDS.index(PAD))
    network.save_pretrained(into)
    _tokenizer(settings["context"]).save_pretrained(into)


def _tokenizer(context: int) -> Any:  # a PreTrainedTokenizerFast
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # splits `:4` too, as when a prompt and a response are joined
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=END, pad_token=PAD, unk_token=UNKNOWN, model_max_length=context
    )
