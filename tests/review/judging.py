"""A judge behind a real HTTP server on loopback that speaks the OpenAI protocol, and samples for it to judge."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], "str | int | dict[str, Any]"]


class JudgeServer(ThreadingHTTPServer):
    """Answers chat requests with what `answer` makes of their body: a text, a status, or a whole reply."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "judge-7b"}]} if "models" in self.path else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
        answer = self.server.answer(body)
        if isinstance(answer, int):
            return self._send(answer, {"error": {"message": f"told to fail with {answer}"}})
        if isinstance(answer, str):
            message = {"role": "assistant", "content": answer}
            answer = {"choices": [{"message": message, "index": 0, "finish_reason": "stop"}]}
        return self._send(200, answer)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def judge_server(answer: Answer) -> Iterator[JudgeServer]:
    with JudgeServer(answer) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()
