"""Render a problem into what is sent to the model: raw text, or chat messages for the model's own template."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from kurve.errors import ConfigError
from kurve.types import Message, Problem, Prompt

SLOT = "{question}"


@dataclass(frozen=True, slots=True)
class Template:
    """How a problem is asked. The same template serves a base model and the models tuned from it.

    The question replaces the slot literally: braces and slots inside it are left alone.

    Raises:
        ConfigError: no name, not exactly one slot, a system message outside a chat, or a stop string that ordinary
            reasoning may contain.
    """

    name: str
    text: str  # with one {question}; with `chat`, the user's message
    source: str = ""  # where the wording comes from
    chat: bool = False  # send messages, to be rendered by the model's own chat template
    system: str = ""  # system message of a chat; a raw template writes its own
    stop: Sequence[str] = ()  # strings that end a response, besides the model's own end tokens

    def __post_init__(self) -> None:
        values: dict[str, object] = {"name": self.name, "text": self.text, "system": self.system}
        for key, value in values.items():
            if not isinstance(value, str):
                raise ConfigError(f"prompt.{key} is {value!r}; expected text")
        if not self.name:
            raise ConfigError("prompt.name is empty; it labels the template in reports and in the store")
        slots = self.text.count(SLOT)
        if slots != 1:
            raise ConfigError(f"prompt.text of {self.name!r} must hold {SLOT} exactly once, found {slots} times")
        if self.system and not self.chat:
            raise ConfigError(
                f"prompt.system of {self.name!r} is set, but chat is false: write the system message into prompt.text, "
                "or set prompt.chat=true"
            )
        if SLOT in self.system:
            raise ConfigError(f"prompt.system of {self.name!r} holds {SLOT}; only prompt.text may")
        if isinstance(self.stop, str) or not isinstance(self.stop, Sequence):
            raise ConfigError(f"prompt.stop is {self.stop!r}; expected a list of strings")
        for stop in self.stop:
            _check_stop(stop)
        object.__setattr__(self, "stop", tuple(self.stop))

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all that decides how a problem is rendered."""
        parts = json.dumps([self.text, self.chat, self.system])
        return hashlib.sha256(parts.encode()).hexdigest()

    def render(self, problem: Problem) -> Prompt:
        """The prompt that asks this problem."""
        before, _, after = self.text.partition(SLOT)
        text = before + problem.question + after
        if not self.chat:
            return Prompt(problem_id=problem.id, text=text, images=problem.images)
        system = (Message("system", self.system),) if self.system else ()
        return Prompt(problem_id=problem.id, messages=(*system, Message("user", text)), images=problem.images)


def _check_stop(stop: object) -> None:
    if not isinstance(stop, str) or not stop:
        raise ConfigError(f"prompt.stop holds {stop!r}; expected strings that are not empty")
    if all(char.isalnum() or char.isspace() or char == "_" for char in stop):
        raise ConfigError(
            f"prompt.stop holds {stop!r}, which ordinary reasoning may contain and which would cut it there; "
            "use a special token such as '<|im_end|>' or a delimiter such as '</answer>'"
        )
