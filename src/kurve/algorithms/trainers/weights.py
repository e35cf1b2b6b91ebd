"""Where the weights of a training come from and where its result goes."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PrinterCallback

from kurve.algorithms import Job
from kurve.algorithms.trainers.device import name_the_cpu
from kurve.errors import ConfigError, TrainingError
from kurve.samplers.checkpoints import is_local
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Model, Prompt

_WEIGHTS = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.py"]  # not *.pth, *.gguf


def local_folder(model: Model) -> Path:
    """The folder that holds the model's weights; a hub model's revision is downloaded when it is not in the cache.

    TRL loads the weights, the configuration and the reference model each in its own way, and not all of them with
    the revision; a folder is the same for all.

    Raises:
        ConfigError: the model is an adapter.
        TrainingError: the hub does not give it.
    """
    if model.lora:
        raise ConfigError(f"model.lora={model.lora}: training starts from whole weights; merge the adapter first")
    if is_local(model.path):
        return Path(model.path).expanduser().absolute()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model.path, revision=model.revision or None, allow_patterns=_WEIGHTS))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"model.path={model.path} cannot be downloaded: {error}. Download it where there is a network "
            f"(hf download {model.path}) or give a local folder"
        ) from error


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a model's folder, padding on the left, as generation needs.

    Raises:
        TrainingError: there is none that can be read.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, padding_side="left", truncation_side="left")
    except (OSError, ValueError) as error:
        raise TrainingError(f"no tokenizer can be loaded from {folder}: {error}") from error


def end_tokens(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that end a response: the tokenizer's and those of the model's generation settings."""
    found = {tokenizer.eos_token_id}
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            given = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
            found |= set(given) if isinstance(given, list) else {given}
            break
    return frozenset(int(token) for token in found if token is not None)


def check_context(model: Model, prompts: Sequence[Prompt], max_tokens: int) -> None:
    """Refuse prompts that leave no room for `max_tokens` in the model's context.

    Raises:
        ConfigError: the longest prompt, the lengths, and what to change.
    """
    encoder = PromptTokenizer(model)
    lengths = [len(encoder.encode(prompt)) for prompt in prompts]
    longest = max(lengths, default=0)
    if encoder.context and longest + max_tokens > encoder.context:
        worst = prompts[lengths.index(longest)].problem_id
        raise ConfigError(
            f"the prompt of problem {worst!r} is {longest} tokens long; with max_completion_length={max_tokens} that "
            f"is {longest + max_tokens}, and the context of {model.path} is {encoder.context}: lower "
            "max_completion_length, leave the problem out, or raise model.context"
        )


def make_config(kind: type, job: Job, args: Mapping[str, Any]) -> Any:
    """TRL's configuration object of class `kind`, for checkpoints in `job.folder` and no tracking of its own.

    Weights are trained in float32 under autocast (`bf16`), unless `model_init_kwargs.dtype` says otherwise: at
    learning rates of RL an update is smaller than half a step between bfloat16 weights and would be lost. With LoRA
    the frozen weights are loaded as `model.dtype` says.

    Raises:
        ConfigError: TRL refuses a value.
    """
    dtype = job.model.dtype if job.lora is not None else "float32"
    settings: dict[str, Any] = {"num_completions_to_print": 0} if hasattr(kind, "num_completions_to_print") else {}
    settings |= dict(args)
    settings["model_init_kwargs"] = {"dtype": dtype, **dict(settings.get("model_init_kwargs") or {})}
    try:
        config = kind(**settings, output_dir=str(job.folder / "checkpoints"), seed=job.seed, report_to=[])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trl.{kind.__name__} refuses a value of training or algorithm.args: {error}") from error
    name_the_cpu(config)
    return config


def adapter_config(lora: Mapping[str, Any] | None) -> Any:
    """peft's LoraConfig, or None to train all weights.

    Raises:
        ConfigError: peft refuses a setting.
    """
    if lora is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM", **lora})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"lora: {error}; see peft.LoraConfig for its settings") from error


def run(trainer: Any, checkpoint: Path | None) -> None:
    """Train to the end, from `checkpoint` if there is one.

    The trainer's own printing of every logged step is switched off: the numbers go to the job's log.

    Raises:
        TrainingError: the accelerator's memory is full.
    """
    trainer.remove_callback(PrinterCallback)
    if checkpoint is not None and _is_last(checkpoint):
        trainer._run_epoch = lambda **_: None  # transformers 5.17 would take one step more than max_steps
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "out of memory while training; lower per_device_train_batch_size (and raise gradient_accumulation_steps "
            "by as much), shorten max_completion_length, turn on gradient_checkpointing, or shard the model "
            f"(conf/accelerate): {error}"
        ) from error


def _is_last(checkpoint: Path) -> bool:
    """Whether the training was complete when this checkpoint was saved."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def save_result(trainer: Any, job: Job, base: Path) -> None:
    """Write the trained model and its tokenizer to `job.folder / "model"`, for vLLM and transformers to load.

    A LoRA adapter is kept as `job.folder / "adapter"` and merged into the base weights. The numbers are stored in
    `model.dtype`; `auto` takes that of the initial weights. The folder appears only when it is complete. Collective:
    every process must call it. `base` is the folder of the initial weights.

    Raises:
        TrainingError: the weights cannot be written.
    """
    partial = job.folder / "model.partial"
    if trainer.accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    try:
        trainer.save_model(str(job.folder / "adapter" if job.lora is not None else partial))
        if trainer.accelerator.is_main_process:
            _finish(partial, job, base)
            trainer.processing_class.save_pretrained(partial)
            shutil.rmtree(job.folder / "model", ignore_errors=True)
            partial.rename(job.folder / "model")
    except OSError as error:
        raise TrainingError(f"the trained model cannot be written to {partial}: {error}") from error
    trainer.accelerator.wait_for_everyone()


def _finish(partial: Path, job: Job, base: Path) -> None:
    """Merge an adapter, bring the numbers into the result's type, and drop what only training reads."""
    dtype = _dtype(job.model, base)
    if job.lora is not None:
        from peft import PeftModel

        network = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        network = PeftModel.from_pretrained(network, str(job.folder / "adapter")).merge_and_unload()
        network.to(dtype).save_pretrained(partial)
    elif dtype != torch.float32:
        network = AutoModelForCausalLM.from_pretrained(partial, dtype=dtype)
        shutil.rmtree(partial)
        network.save_pretrained(partial)
    if (base / "generation_config.json").is_file():
        GenerationConfig.from_pretrained(base).save_pretrained(partial)  # TRL's own holds training's temperature
    for name in ("training_args.bin", "README.md"):
        (partial / name).unlink(missing_ok=True)


def _dtype(model: Model, base: Path) -> torch.dtype:
    name = model.dtype
    if name == "auto":
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        name = config.get("dtype") or config.get("torch_dtype") or "float32"
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ConfigError(f"model.dtype={name!r} is no type of numbers; expected float32, bfloat16 or float16")
    return found
