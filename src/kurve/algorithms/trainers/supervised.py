"""TRL's SFTTrainer on rows whose tokens are those that a sampler sends and draws."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from kurve.algorithms import Job
from kurve.algorithms.trainers import weights
from kurve.algorithms.trainers.callback import Forward, HeldOut
from kurve.errors import ConfigError, TrainingError
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Demonstration, Prompt

_IGNORED = -100  # label of a token that the loss does not count
_SPACE = "\u2581"  # what SentencePiece writes for a space, also in front of a text
_log = logging.getLogger(__name__)


def make_trainer(job: Job, settings: Mapping[str, Any], folder: Path) -> SFTTrainer:
    """The trainer, its model loaded from `folder`, ready to train.

    Demonstrations longer than `max_length`, or than the model's context, are left out: cut, they would teach never to
    end. How many is logged as `demonstrations/left_out`.

    Raises:
        ConfigError: TRL refuses a value, or no demonstration is short enough.
        TrainingError: the model cannot be loaded.
    """
    tokenizer = weights.load_tokenizer(folder)
    config = weights.make_config(SFTConfig, job, settings)
    if config.eos_token is not None:
        tokenizer.eos_token = config.eos_token
    encoder = PromptTokenizer(dataclasses.replace(job.model, path=str(folder), revision=""))
    rows = token_rows(job.demonstrations, encoder, tokenizer, whole_sequence=config.completion_only_loss is False)
    limit = min(length for length in (config.max_length, encoder.context, float("inf")) if length)
    kept = [row for row in rows if len(row["input_ids"]) <= limit]
    _report(job, left_out=len(rows) - len(kept), of=len(rows), limit=limit)
    if not config.packing:
        config.max_length = None  # nothing is left to cut
    try:
        trainer = SFTTrainer(
            model=str(folder),
            args=config,
            train_dataset=Dataset.from_list(kept),
            processing_class=tokenizer,
            peft_config=weights.adapter_config(job.lora),
            callbacks=[Forward(job.log), *job.callbacks],
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(f"the training of {job.model.path} cannot be set up: {error}") from error
    for callback in job.callbacks:
        if isinstance(callback, HeldOut):
            callback.attach(trainer)
    return trainer


def token_rows(
    demonstrations: Sequence[Demonstration], encoder: PromptTokenizer, tokenizer: Any, *, whole_sequence: bool = False
) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` of each demonstration: the prompt's tokens, the response's, the end token.

    Prompt and response are tokenised apart, as in sampling, where the response begins after the prompt's last token.
    Labels of the prompt are ignored by the loss unless `whole_sequence`.

    Raises:
        ConfigError: the tokenizer has no end token, or a prompt cannot be encoded.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise ConfigError("the model's tokenizer has no end token; name one of its tokens: training.eos_token=...")
    prompts: dict[Prompt, list[int]] = {}
    rows = []
    responses = response_ids([one.response for one in demonstrations], tokenizer)
    for demonstration, response in zip(demonstrations, responses, strict=True):
        prompt = demonstration.prompt
        if prompt not in prompts:
            prompts[prompt] = encoder.encode(prompt)
        asked = prompts[prompt]
        said = response if response[-1:] == [end] else [*response, end]
        rows.append(
            {"input_ids": [*asked, *said], "labels": [*(asked if whole_sequence else [_IGNORED] * len(asked)), *said]}
        )
    return rows


def response_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of texts that follow a prompt: no special tokens, no blank that SentencePiece puts before a text."""
    if not texts:
        return []
    clean = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    first = tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False)["input_ids"])[:1]
    anchor = "\n" if first and first[0].startswith(_SPACE) else ""
    before = len(tokenizer(anchor, add_special_tokens=False)["input_ids"]) if anchor else 0
    encoded = tokenizer([anchor + text for text in clean], add_special_tokens=False)["input_ids"]
    return [list(ids[before:]) for ids in encoded]


def _report(job: Job, *, left_out: int, of: int, limit: float) -> None:
    if left_out == of:
        raise ConfigError(
            f"all {of:,} demonstrations are longer than {limit:,} tokens (training.max_length or the model's context); "
            "raise it or give shorter ones"
        )
    job.log.log({"demonstrations/used": float(of - left_out), "demonstrations/left_out": float(left_out)}, 0)
    if left_out:
        _log.warning("%d of %d demonstrations are longer than %d tokens and are left out", left_out, of, limit)
