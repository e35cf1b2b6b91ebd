"""Requests for samples of small prompts."""

from collections.abc import Iterator

from kurve.types import Decoding, Message, Prompt, SampleRequest

PROMPTS = (
    Prompt("eggs", text="Janet has 16 eggs ."),
    Prompt("sum", text="What is 2 + 3 ?"),
    Prompt("chat", messages=(Message("user", "What is 2 + 3 ?"),)),
)


def decoding(*, temperature: float = 1.0, max_tokens: int = 16, stop: tuple[str, ...] = ()) -> Decoding:
    return Decoding(temperature, 1.0, max_tokens, stop=stop)


def requests(samples: int, *, prompts: tuple[Prompt, ...] = PROMPTS, first: int = 0) -> list[SampleRequest]:
    indices = tuple(range(first, first + samples))
    return [SampleRequest(prompt, indices, seed=1000 * i) for i, prompt in enumerate(prompts)]


class Counted:
    """Requests that know how many of them were taken."""

    def __init__(self, given: list[SampleRequest]) -> None:
        self.given, self.taken = given, 0

    def __iter__(self) -> Iterator[SampleRequest]:
        for request in self.given:
            self.taken += 1
            yield request
