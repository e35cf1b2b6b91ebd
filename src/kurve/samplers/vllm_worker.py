"""One vLLM engine in a process of its own: `python -m kurve.samplers.vllm_worker <fd> <parent pid>`.

Started by `kurve.samplers.engine_process`, never by hand. Messages travel over one socket, pickled:

in   (settings)                        once: engine, decoding, lora, seeded, logprobs
in   ("draw", key, ids, indices, seed) draw these samples of one prompt
in   ("decode", changes)               decode what comes after this with these settings changed
in   ("score", key, ids, index, start)   sum the log-probabilities of ids from `start` on
in   ("stop",)                         leave; the end of the socket means the same
out  ("ready", version, max_num_seqs)
out  ("samples", [row, ...])           row = key, index, text, finish reason, tokens, seed, sum of log-probabilities

It does not outlive the process that started it: when that one is gone, however it ended, so is this whole process
group (vLLM's own engine and worker processes included).
"""

import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from kurve.samplers.engine_process import Row

_GRACE = 20.0  # seconds for vLLM to shut down by itself before the group is killed
_STOP = ("stop",)


class _Inbox(threading.Thread):
    """Empties the socket all the time, so that the sampler's sends never wait for an engine step."""

    def __init__(self, link: Connection) -> None:
        super().__init__(daemon=True)
        self._link = link
        self.queue: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def run(self) -> None:
        message: tuple[Any, ...] = ()
        while message != _STOP:
            try:
                message = self._link.recv()
            except (EOFError, OSError):
                message = _STOP
            self.queue.put(message)
        _kill_group_later()


def _kill_group_later() -> None:
    time.sleep(_GRACE)
    os.killpg(0, signal.SIGKILL)


def _watch_parent(parent: int, inbox: "queue.SimpleQueue[tuple[Any, ...]]") -> None:
    """Leave with the parent: the socket alone does not tell, a fork of the parent may hold its other end."""
    while os.getppid() == parent:
        time.sleep(0.5)
    inbox.put(_STOP)
    _kill_group_later()


class _Engine:
    """vLLM's engine with the requests that are in it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import vllm

        self.version = str(vllm.__version__)
        self._engine = vllm.LLM(**settings["engine"]).llm_engine
        self.max_num_seqs = int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        self._decoding: dict[str, Any] = settings["decoding"]
        self._seeded: bool = settings["seeded"]
        self._logprobs: bool = settings["logprobs"]
        self._lora = _lora_request(settings["lora"])
        self._pending: dict[str, tuple[int, int, int | None]] = {}
        self._scored: dict[str, int] = {}  # where the response starts
        self._count = 0
        self._ending = False
        self._watch()

    def draw(self, key: int, ids: list[int], indices: list[int], seed: int) -> None:
        """Queue one request a sample, all sharing the prompt's cached prefix."""
        from vllm import SamplingParams
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind

        for index in indices:
            own_seed = seed + index if self._seeded else None
            params = SamplingParams(
                **self._decoding,
                n=1,
                seed=own_seed,
                logprobs=0 if self._logprobs else None,
                flat_logprobs=self._logprobs,
                output_kind=RequestOutputKind.FINAL_ONLY,
                skip_clone=True,
            )
            name = str(self._count)
            self._count += 1
            self._pending[name] = (key, index, own_seed)
            self._engine.add_request(name, tokens_input(ids), params, lora_request=self._lora)

    def decode(self, changes: dict[str, Any]) -> None:
        """Change decoding settings of the samples that are asked for from now on."""
        self._decoding = self._decoding | changes

    def score(self, key: int, ids: list[int], index: int, start: int) -> None:
        """Queue one request that only reads; vLLM draws at least one token, which is dropped."""
        from vllm import SamplingParams
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=0,  # of the prompt's own tokens, no others
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        name = str(self._count)
        self._count += 1
        self._pending[name] = (key, index, None)
        self._scored[name] = start
        self._engine.add_request(name, tokens_input(ids), params, lora_request=self._lora)

    @property
    def idle(self) -> bool:
        return not self._pending

    def step(self) -> Iterator[Row]:
        for output in self._engine.step():
            if not output.finished:
                continue
            key, index, seed = self._pending.pop(output.request_id)
            drawn = output.outputs[0]
            reason = str(drawn.finish_reason)
            if reason == "error":
                raise RuntimeError(f"vLLM reports an internal error for request {output.request_id}")
            if (start := self._scored.pop(output.request_id, None)) is not None:
                logprobs = _prompt_logprobs(output, start)
                yield Row(key, index, "", "", len(logprobs), None, math.fsum(logprobs))
                continue
            tokens, logprob = len(drawn.token_ids), drawn.cumulative_logprob
            yield Row(key, index, drawn.text, reason, tokens, seed, logprob)

    def shutdown(self) -> None:
        self._ending = True
        self._engine.engine_core.shutdown()

    def _watch(self) -> None:
        """Leave when one of vLLM's own processes is killed: vLLM would wait for its answer for ever."""
        resources = getattr(self._engine.engine_core, "resources", None)
        manager = getattr(resources, "engine_manager", None)
        sentinels = [process.sentinel for process in getattr(manager, "processes", ())]
        if sentinels:
            threading.Thread(target=self._leave_with, args=(sentinels,), daemon=True).start()

    def _leave_with(self, sentinels: list[int]) -> None:
        wait(sentinels)
        time.sleep(3.0)  # an engine that could still say what went wrong has been heard by now
        if not self._ending:
            sys.stderr.write("RuntimeError: vLLM's engine process was killed, perhaps for lack of memory\n")
            sys.stderr.flush()
            os._exit(70)


def _lora_request(path: str) -> Any:  # a vllm.lora.request.LoRARequest
    if not path:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, path)


def _prompt_logprobs(output: Any, start: int) -> list[float]:
    """Log-probability of each token of the prompt from `start` on, nats."""
    ids, found = output.prompt_token_ids, output.prompt_logprobs
    return [float(found[place][ids[place]].logprob) for place in range(start, len(ids))]


def _serve(engine: _Engine, inbox: "queue.SimpleQueue[tuple[Any, ...]]", link: Connection) -> None:
    actions: dict[str, Callable[..., None]] = {"draw": engine.draw, "decode": engine.decode, "score": engine.score}
    while True:
        while engine.idle or not inbox.empty():
            message = inbox.get()
            if message == _STOP:
                return
            kind, *content = message
            actions[kind](*content)
        rows = list(engine.step())
        if rows:
            link.send(("samples", rows))


def main() -> int:
    """Serve draws until told to stop or until the parent is gone."""
    link, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    # The sampler decides when to stop: an interrupt from the keyboard reaches it, and then us through the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings = link.recv()
    inbox = _Inbox(link)
    inbox.start()
    threading.Thread(target=_watch_parent, args=(parent, inbox.queue), daemon=True).start()
    engine = _Engine(settings)
    try:
        link.send(("ready", engine.version, engine.max_num_seqs))
        _serve(engine, inbox.queue, link)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the sampler has closed its end: nobody waits for the rest
    finally:
        engine.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
