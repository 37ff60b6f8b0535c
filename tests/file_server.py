"""A real HTTP server on loopback that serves files, faultily if a test says so."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclasses.dataclass
class Asked:
    """A request that came."""

    path: str
    range: str | None
    if_range: str | None
    accept_encoding: str | None


@dataclasses.dataclass
class Fault:
    """How an answer differs from a faultless one.

    Attributes:
        status: Instead of 200 or 206, with an empty body.
        cut: Close the connection after so many bytes of the body.
        body: Send these bytes of the file instead of its own.
        no_ranges: Send the whole file whatever is asked.
        part: Send the part from here on, whatever is asked.
        seconds: Wait so long between blocks of 4 KiB.
        headers: Further headers.
        chunked: Announce no length.
    """

    status: int | None = None
    cut: int | None = None
    body: bytes | None = None
    no_ranges: bool = False
    part: int | None = None
    seconds: float = 0.0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    chunked: bool = False


Answer = Callable[[Asked, int], Fault]


def faultless(asked: Asked, count: int) -> Fault:
    return Fault()


class FileServer:
    """Serves files by path; each has an entity tag made from its content.

    Args:
        files: Content by path.
        answer: The fault of an answer, from the request and the number of those before it.
    """

    def __init__(self, files: Mapping[str, bytes], answer: Answer = faultless) -> None:
        self.files, self.answer = dict(files), answer
        self.asked: list[Asked] = []
        self.sent = 0
        lock, server = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request = Asked(
                    self.path.lstrip("/"),
                    self.headers["Range"],
                    self.headers["If-Range"],
                    self.headers["Accept-Encoding"],
                )
                with lock:
                    count = len(server.asked)
                    server.asked.append(request)
                self.close_connection = True
                with contextlib.suppress(ConnectionError):  # the client did not wait
                    self._send(request, server.answer(request, count))

            def _send(self, request: Asked, fault: Fault) -> None:
                content = server.files.get(request.path)
                if fault.status is not None or content is None:
                    self._head(fault.status or 404, 0, fault)
                    return
                tag = server.tag(request.path)
                content = content if fault.body is None else fault.body
                start, wants_part = 0, request.range is not None and not fault.no_ranges
                if wants_part and request.if_range in (None, tag):
                    start = int(request.range.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content) and start:
                    self._head(416, 0, fault, {"Content-Range": f"bytes */{len(content)}"})
                    return
                start = start if fault.part is None else fault.part
                more = {"ETag": tag, "Accept-Ranges": "bytes"}
                if start:
                    more["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self._head(206 if start else 200, len(content) - start, fault, more)
                self._body(content[start:], fault)

            def _head(self, status: int, length: int, fault: Fault, more: Mapping[str, str] = {}) -> None:
                self.send_response(status)
                if not fault.chunked:
                    self.send_header("Content-Length", str(length))
                for name, value in {**more, "Connection": "close", **fault.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def _body(self, content: bytes, fault: Fault) -> None:
                if fault.cut is not None:
                    content = content[: fault.cut]
                for place in range(0, len(content), 4096):
                    self.wfile.write(content[place : place + 4096])
                    self.wfile.flush()
                    with lock:
                        server.sent += len(content[place : place + 4096])
                    time.sleep(fault.seconds)

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def tag(self, path: str) -> str:
        return f'"{hash(self.files[path]) & 0xFFFFFFFF:x}"'

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
