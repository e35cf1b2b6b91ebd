"""The OpenAI sampler against a small server of its own; tests/contract has it against `vllm serve`."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kurve.errors import ConfigError, SamplingError
from kurve.samplers.openai import OpenAISampler
from kurve.types import Decoding, Model, Prompt
from tests.samplers.requests import PROMPTS, Counted, decoding, requests

pytest.importorskip("openai", reason="the openai package is not installed")


class Server(ThreadingHTTPServer):
    """Answers as it is told: `failures` are given first, each once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures: list[int] = []
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()
        self.open = self.most_open = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(
            200, {"data": [{"id": "served", "max_model_len": 100}]} if "models" in self.path else {"version": "9"}
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            return self.answer(200, {"count": 90})
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.paths.append(self.path)
            self.server.keys.append(self.headers["Authorization"])
            failure = self.server.failures.pop(0) if self.server.failures else None
        if failure:
            return self.answer(failure, {"error": {"message": f"told to fail with {failure}"}})
        usage = {"completion_tokens": 2, "prompt_tokens": 1, "total_tokens": 3}
        if "chat" in self.path:
            logprobs = {"content": [{"token": "4", "logprob": -0.5, "top_logprobs": []}] * 2}
            choice = {"message": {"role": "assistant", "content": "4 2"}, "logprobs": logprobs}
        else:
            choice = {"text": f"seed {body.get('seed')}", "logprobs": {"token_logprobs": [-1.0, -0.25]}}
        return self.answer(200, {"choices": [{**choice, "index": 0, "finish_reason": "stop"}], "usage": usage})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "0.01")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def sampler(url: str, **settings: Any) -> OpenAISampler:
    drawn = settings.pop("decoding", decoding(max_tokens=5, stop=("\n\n",)))
    return OpenAISampler(model=Model("m", settings.pop("path", "served")), decoding=drawn, base_url=url, **settings)


def test_text_and_messages_go_to_their_endpoints_with_every_setting(server: Server) -> None:
    drawn = Decoding(0.7, 0.9, 5, top_k=20, min_p=0.1, stop=("\n\n",))
    samples = list(sampler(server.url, decoding=drawn, concurrency=2).sample(requests(3)))
    assert len(samples) == 9
    for body, path in zip(server.bodies, server.paths, strict=True):
        sent = {k: body[k] for k in ("temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "n")}
        drawing = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.1}
        assert sent == drawing | {"max_tokens": 5, "stop": ["\n\n"], "n": 1}
        assert ("messages" in body) == path.endswith("/chat/completions")
    text = {(s.problem_id, s.index): s for s in samples}
    assert text["sum", 2].text == "seed 1002"
    assert text["sum", 2].logprob_sum == -1.25
    assert text["chat", 0].logprob_sum == -1.0
    assert text["chat", 0].engine_version == "9"


@pytest.mark.parametrize("concurrency", [1, 2, 64])
def test_every_sample_is_drawn_however_few_requests_are_under_way_at_once(server: Server, concurrency: int) -> None:
    assert len(list(sampler(server.url, concurrency=concurrency).sample(requests(3)))) == 9


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_passing_failures_are_repeated(server: Server, status: int) -> None:
    server.failures = [status, status]
    assert len(list(sampler(server.url).sample(requests(2)))) == 6


def test_a_lasting_failure_ends_with_what_the_server_said(server: Server) -> None:
    server.failures = [400] * 100
    with pytest.raises(SamplingError, match="told to fail with 400.*sampler.send_seed=false"):  # noqa: RUF043
        list(sampler(server.url).sample(requests(2)))


def own_threads() -> list[threading.Thread]:
    """All but those of the test's server, one a connection, which end when they notice that it is closed."""
    return [one for one in threading.enumerate() if "process_request" not in one.name]


def test_requests_are_taken_as_they_are_needed_and_closing_ends_the_thread(server: Server) -> None:
    lazy = Counted(requests(1, prompts=PROMPTS[:2] * 50))
    threads = len(own_threads())
    stream = sampler(server.url, concurrency=4).sample(lazy)
    next(stream)
    assert lazy.taken <= 5
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert not [t for t in threading.enumerate() if "run_forever" in t.name]
    deadline = time.monotonic() + 10
    while len(own_threads()) > threads and time.monotonic() < deadline:
        time.sleep(0.05)  # a thread that looks names up ends a moment after its loop
    assert len(own_threads()) <= threads, own_threads()


def test_the_key_comes_from_the_named_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "s3cret")
    list(sampler(server.url, api_key_env="OUR_KEY").sample(requests(1)))
    assert set(server.keys) == {"Bearer s3cret"}


def test_a_server_that_is_down_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"start the server or correct sampler\.base_url"):
        sampler("http://127.0.0.1:9/v1").check(PROMPTS)


def test_an_unknown_model_is_refused_with_what_is_served(server: Server) -> None:
    with pytest.raises(ConfigError, match="does not serve model.path=other; it serves served"):  # noqa: RUF043
        sampler(server.url, path="other").check(PROMPTS)


def test_a_context_too_short_is_refused(server: Server) -> None:
    sampler(server.url).check(PROMPTS)
    with pytest.raises(ConfigError, match=r"90 tokens.*context is 100.*longer context"):
        sampler(server.url, decoding=decoding(max_tokens=11)).check([Prompt("p", text="x")])


@pytest.mark.parametrize("settings", [{"concurrency": 0}, {"retries": -1}, {"timeout": 0}])
def test_numbers_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be 1 or more"):
        sampler("http://127.0.0.1:9/v1", **settings)


def test_an_adapter_that_only_the_server_can_load_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.lora=\./adapter.*--lora-modules"):
        OpenAISampler(model=Model("m", "served", lora="./adapter"), decoding=decoding())


def test_a_url_without_a_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="must begin with http"):
        sampler("127.0.0.1:9/v1")
