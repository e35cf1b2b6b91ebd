"""Sample from any server that speaks the OpenAI API: `vllm serve`, SGLang, a hosted model."""

import asyncio
import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kurve.errors import ConfigError, SamplingError
from kurve.samplers.tokens import context_message
from kurve.types import Decoding, Model, Prompt, Sample, SampleRequest

_LONGEST_CHECKED = 16  # prompts, the longest in characters, that the server is asked to count tokens of
_PATIENCE = 10.0  # seconds for a question about the server itself


class OpenAISampler:
    """Draws samples from a server, `concurrency` at a time, one request a sample.

    Prompts of raw text go to the completions endpoint, chat messages to the chat endpoint, where the server applies
    its own template. Failed requests (connection, 408, 409, 429, 5xx) are repeated with growing, jittered pauses, or
    after the pause that the server asks for. A server that splits off the reasoning (`--reasoning-parser`) must not be
    used: that part of the response would be lost.

    Args:
        model: `path` is the name under which the server serves it.
        decoding: top_k and min_p are sent only if they are set; not every server takes them.
        log: not used; there is no engine here to write one.
        base_url: of the server, with `/v1`.
        api_key_env: name of the environment variable with the key; without it "EMPTY" is sent.
        concurrency: requests under way at once.
        retries: repetitions of a failed request.
        timeout: seconds for one request.
        send_seed: send each sample's seed; a server that does not take seeds needs False.
        logprobs: ask for log-probabilities; a server that does not give them needs False.
        require_usage: refuse a server that says in no way how many tokens it drew; False counts them as 0.

    Raises:
        ConfigError: a number out of range, a URL without http, or a LoRA adapter, which only the server can load.
    """

    engine = "openai"
    ready_at: float | None = None

    def __init__(
        self,
        *,
        model: Model,
        decoding: Decoding,
        log: str | Path | None = None,
        base_url: str = "http://127.0.0.1:8000/v1",
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 64,
        retries: int = 8,
        timeout: float = 600.0,
        send_seed: bool = True,
        logprobs: bool = True,
        require_usage: bool = True,
    ) -> None:
        if concurrency < 1 or retries < 0 or timeout <= 0:
            raise ConfigError(
                f"sampler.concurrency={concurrency} must be 1 or more, retries={retries} 0 or more, "
                f"timeout={timeout} above 0"
            )
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"sampler.base_url={base_url}; it must begin with http:// or https://")
        if model.lora:
            raise ConfigError(
                f"model.lora={model.lora}: a server loads its adapters itself; start it with the adapter "
                "(vllm serve --enable-lora --lora-modules NAME=PATH) and set model.path=NAME, model.lora empty"
            )
        self._model, self._decoding, self._url = model, decoding, base_url.rstrip("/")
        self._key_env, self._concurrency = api_key_env, concurrency
        self._retries, self._timeout = retries, timeout
        self._send_seed, self._logprobs, self._require_usage = send_seed, logprobs, require_usage
        self._version: str | None = None

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse a server that is down, does not serve the model, or whose context is too short.

        Raises:
            ConfigError: what the server said, and what it serves.
        """
        for prompt in prompts:
            if prompt.images:
                raise ConfigError(f"problem {prompt.problem_id!r} has images; this sampler takes text only")
        try:
            served = {str(one["id"]): one for one in self._ask(f"{self._url}/models")["data"]}
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{self._url}/models is not the list of an OpenAI-compatible server") from error
        if self._model.path not in served:
            raise ConfigError(
                f"the server at {self._url} does not serve model.path={self._model.path}; "
                f"it serves {', '.join(sorted(served)) or 'nothing'}"
            )
        context = served[self._model.path].get("max_model_len")
        if isinstance(context, int):
            self._check_context(prompts, context)

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Draw the requested samples, each yielded as its request returns; see `Sampler.sample`."""
        with closing(self.attempts(requests)) as attempts:
            for attempt in attempts:
                if attempt.sample is None:
                    raise SamplingError(attempt.error)
                yield attempt.sample

    def attempts(self, requests: Iterable[SampleRequest]) -> Generator["Attempt", None, None]:
        """As `sample`, but a request that failed for good is yielded as well, and the others go on."""
        singles = ((request, index) for request in requests for index in request.indices)
        first = next(singles, None)
        if first is None:
            return
        if self._version is None:
            self._version = self._server_version()
        self.ready_at = time.monotonic()
        with _Loop(self._key(), self._url, retries=self._retries, timeout=self._timeout) as loop:
            left, under_way = chain((first,), singles), 0
            while True:
                while under_way < self._concurrency and (single := next(left, None)) is not None:
                    loop.submit(self._attempt(loop.client, *single))
                    under_way += 1
                if not under_way:
                    return
                yield loop.result()
                under_way -= 1

    async def _attempt(self, client: Any, request: SampleRequest, index: int) -> "Attempt":
        try:
            return Attempt(request, index, await self._draw(client, request, index))
        except SamplingError as error:
            return Attempt(request, index, None, str(error))

    async def _draw(self, client: Any, request: SampleRequest, index: int) -> Sample:
        import openai

        seed = request.seed + index if self._send_seed else None
        try:
            if request.prompt.messages:
                answer = await self._chat(client, request.prompt, seed)
            else:
                answer = await self._complete(client, request.prompt, seed)
        except openai.APIStatusError as error:
            raise SamplingError(self._explain(error.status_code, str(error))) from error
        except openai.APIError as error:
            raise SamplingError(
                f"no answer from {self._url} after {self._retries + 1} tries: {error}. "
                "What was drawn is stored; start the server and run the same command again"
            ) from error
        except (AttributeError, IndexError, TypeError) as error:
            raise SamplingError(f"{self._url} gave a reply that is not one of the OpenAI API: {error}") from error
        return Sample(
            problem_id=request.prompt.problem_id,
            index=index,
            text=answer.text,
            finish_reason=answer.finish_reason,
            num_tokens=answer.num_tokens,
            seed=seed,
            logprob_sum=answer.logprob_sum,
            engine=self.engine,
            engine_version=self._version or "",
        )

    async def _complete(self, client: Any, prompt: Prompt, seed: int | None) -> "_Answer":
        extra = {"logprobs": 0} if self._logprobs else {}
        reply = await client.completions.create(prompt=prompt.text, **self._common(seed), **extra)
        choice = reply.choices[0]
        drawn = choice.logprobs.token_logprobs if choice.logprobs else None
        return self._answer(reply, choice.text, choice.finish_reason, drawn)

    async def _chat(self, client: Any, prompt: Prompt, seed: int | None) -> "_Answer":
        extra = {"logprobs": True} if self._logprobs else {}
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        reply = await client.chat.completions.create(messages=messages, **self._common(seed), **extra)
        choice = reply.choices[0]
        content = choice.logprobs.content if choice.logprobs else None
        drawn = [token.logprob for token in content] if content else None
        return self._answer(reply, choice.message.content, choice.finish_reason, drawn)

    def _common(self, seed: int | None) -> dict[str, Any]:
        decoding = self._decoding
        body: dict[str, Any] = {"top_k": decoding.top_k} if decoding.top_k else {}
        body |= {"min_p": decoding.min_p} if decoding.min_p else {}
        settings: dict[str, Any] = {
            "model": self._model.path,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens,
            "n": 1,
        }
        if decoding.stop:
            settings["stop"] = list(decoding.stop)
        if seed is not None:
            settings["seed"] = seed
        return settings | ({"extra_body": body} if body else {})

    def _answer(
        self, reply: Any, text: str | None, reason: str | None, drawn: Sequence[float | None] | None
    ) -> "_Answer":
        if reply.usage is not None:
            tokens = int(reply.usage.completion_tokens)
        elif drawn is not None:
            tokens = len(drawn)
        elif not self._require_usage:
            tokens = 0
        else:
            raise SamplingError(
                f"{self._url} reports neither usage nor log-probabilities; the tokens cannot be counted"
            )
        known = [value for value in drawn or () if value is not None]
        logprob = float(sum(known)) if drawn is not None and len(known) == len(drawn) else None
        return _Answer(text or "", reason if reason in ("stop", "length") else "abort", tokens, logprob)

    def _check_context(self, prompts: Sequence[Prompt], context: int) -> None:
        longest = sorted(prompts, key=_characters, reverse=True)[:_LONGEST_CHECKED]
        for prompt in longest:
            length = self._count_tokens(prompt)
            if length is None:
                return
            if length + self._decoding.max_tokens > context:
                message = context_message(
                    prompt.problem_id, length, self._decoding.max_tokens, context=context, own=None
                )
                raise ConfigError(f"{message}; or start the server with a longer context")

    def _count_tokens(self, prompt: Prompt) -> int | None:
        """As vLLM's /tokenize counts them; None where the server has no such endpoint."""
        body: dict[str, Any] = {"model": self._model.path}
        if prompt.messages:
            body["messages"] = [{"role": message.role, "content": message.content} for message in prompt.messages]
        else:
            body["prompt"] = prompt.text
        try:
            count = self._ask(f"{self._url.removesuffix('/v1')}/tokenize", body)["count"]
        except (ConfigError, KeyError, TypeError):
            return None
        return int(count)

    def _server_version(self) -> str:
        try:
            return str(self._ask(f"{self._url.removesuffix('/v1')}/version")["version"])
        except (ConfigError, KeyError, TypeError):
            return "unknown"

    def _key(self) -> str:
        return os.environ.get(self._key_env) or "EMPTY"

    def _ask(self, url: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._key()}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        try:
            # The scheme is http or https: the constructor refuses others.
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=_PATIENCE) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                raise ConfigError(self._explain(error.code, error.reason)) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ConfigError(
                f"no usable answer from {url}: {reason}; start the server or correct sampler.base_url"
            ) from error

    def _explain(self, status: int, message: str) -> str:
        hint = {
            400: "; a server without seeds or log-probabilities needs sampler.send_seed=false or logprobs=false",
            401: f"; put the key into the environment variable {self._key_env}",
            403: f"; put the key into the environment variable {self._key_env}",
            404: "; check sampler.base_url (it ends with /v1) and model.path",
        }.get(status, "")
        return f"{self._url} answered {status}: {message[:500]}{hint}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one request."""

    request: SampleRequest
    index: int  # of the request's indices
    sample: Sample | None
    error: str = ""  # why there is no sample


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    finish_reason: str
    num_tokens: int
    logprob_sum: float | None


class _Loop:
    """An event loop in a thread, so that the sampler is an ordinary generator; owns the client."""

    def __init__(self, key: str, url: str, *, retries: int, timeout: float) -> None:
        self._key, self._url, self._retries, self._timeout = key, url, retries, timeout
        self._results: queue.SimpleQueue[Future[Attempt]] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        try:
            import openai
        except ImportError as error:
            raise ConfigError("sampler=openai needs the openai package: pip install 'kurve[openai]'") from error
        self.client = openai.AsyncOpenAI(
            api_key=self._key, base_url=self._url, max_retries=self._retries, timeout=self._timeout
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, work: Coroutine[Any, Any, Attempt]) -> None:
        """Start one request."""
        asyncio.run_coroutine_threadsafe(work, self._loop).add_done_callback(self._results.put)

    def result(self) -> Attempt:
        """What comes of the next request to end; waits for it."""
        return self._results.get().result()

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.close()


def _characters(prompt: Prompt) -> int:
    return len(prompt.text) + sum(len(message.content) for message in prompt.messages)
