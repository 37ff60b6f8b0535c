"""A real HTTP server on loopback that answers as a test says, for policies that ask one."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclasses.dataclass
class Request:
    """What a server was sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    time: float


@dataclasses.dataclass
class Reply:
    """What it answers."""

    body: Any
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


def text(written: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"text": written, **more}], "usage": {"completion_tokens": 3, "prompt_tokens": 7}}


def message(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"message": fields}], "usage": {"completion_tokens": 3, "prompt_tokens": 7}}


class LocalServer:
    """A server that answers each request by a function of it and of how many came before."""

    def __init__(self, reply: Callable[[Request, int], Reply], port: int = 0) -> None:
        self.requests: list[Request] = []
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with lock:
                    request = Request(self.path, headers, body, time.monotonic())
                    count = len(server.requests)
                    server.requests.append(request)
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                answer = reply(request, count)
                time.sleep(answer.seconds)
                content = json.dumps(answer.body).encode()
                with lock:
                    server.at_once -= 1
                try:
                    self.send_response(answer.status)
                    for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:
                    pass  # the client did not wait

            def log_message(self, *_: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
