"""A thin OpenAI-compatible endpoint on loopback that says what a test tells it to say, dialects and faults included."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Raw:
    """An answer as bytes: a status, headers, a body sent in pieces with a pause between them, perhaps cut off."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    piece: int = 0
    """Bytes of a piece; 0: all at once."""
    pause: float = 0.0
    """Seconds between two pieces."""
    delay: float = 0.0
    """Seconds before the first byte."""
    cut: int | None = None
    """Send only so many bytes of the body, then hang up."""
    reset: bool = False
    """Send nothing and reset the connection."""


Answer = Raw | Mapping[str, Any]
Script = Callable[[dict[str, Any], int], Answer]
"""(request body, number of this request from 0) -> what to answer."""


def completion(
    content: str | None = "done",
    *calls: Mapping[str, Any],
    finish: str | None = None,
    usage: Mapping[str, int] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """A chat completion; `extra` goes into the message."""
    message: dict[str, Any] = {"role": "assistant", "content": content, **extra}
    if calls:
        message["tool_calls"] = list(calls)
    choice = {"index": 0, "message": message, "finish_reason": finish or ("tool_calls" if calls else "stop")}
    body: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "model": "scripted", "choices": [choice]}
    return body | ({"usage": dict(usage)} if usage else {})


def call(name: str, arguments: Any, call_id: str | None = "abc") -> dict[str, Any]:
    """A tool call; `arguments` that are no string are sent as JSON text."""
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
    made = {"type": "function", "function": {"name": name, "arguments": raw}}
    return made if call_id is None else {"id": call_id, **made}


def fault(status: int, message: str, **error: Any) -> Raw:
    """An error answer in OpenAI's shape."""
    return Raw(status, json.dumps({"error": {"message": message, **error}}).encode())


def turn_of(request: Mapping[str, Any]) -> int:
    """How many assistant messages a request's transcript holds."""
    return sum(message["role"] == "assistant" for message in request["messages"])


def by_turn(*answers: Answer) -> Script:
    """The answer by the transcript's length, so that any number of episodes may run; the last one for good."""
    return lambda request, number: answers[min(turn_of(request), len(answers) - 1)]


def in_order(*answers: Answer) -> Script:
    """The answers one after the other, whatever is asked; the last one for good."""
    return lambda request, number: answers[min(number, len(answers) - 1)]


@dataclass
class Server:
    """A running endpoint, and what it was asked."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most: int = 0
    """The most requests that were open at once."""
    connections: int = 0


@contextmanager
def listen(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection below HTTP: `talk` reads and writes it, and may be hung up on. Its URL."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            with suppress(OSError), door.accept()[0] as client:
                talk(client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}/v1"
        finally:
            thread.join()


@contextmanager
def serve(script: Script | Sequence[Answer]) -> Iterator[Server]:
    """An endpoint that answers by `script`; a list is taken in order."""
    play = script if callable(script) else in_order(*script)
    lock = threading.Lock()
    ended = threading.Event()
    open_now = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a body would wait for the acknowledgement of its headers

        def setup(self) -> None:
            super().setup()
            with lock:
                server.connections += 1

        def do_POST(self) -> None:
            nonlocal open_now
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(body)
                server.headers.append(dict(self.headers))
                server.times.append(time.monotonic())
                open_now += 1
                server.most = max(server.most, open_now)
            try:
                self._say(play(body, number))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with lock:
                    open_now -= 1

        def _say(self, answer: Answer) -> None:
            raw = answer if isinstance(answer, Raw) else Raw(body=json.dumps(answer).encode())
            ended.wait(raw.delay)
            if raw.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(raw.status)
            for name, value in {**raw.headers, "Content-Length": str(len(raw.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            body = raw.body if raw.cut is None else raw.body[: raw.cut]
            for start in range(0, len(body), raw.piece or max(len(body), 1)):
                self.wfile.write(body[start : start + (raw.piece or len(body))])
                self.wfile.flush()
                ended.wait(raw.pause)
            if raw.cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hung up is no news."""

    http = Quiet(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        ended.set()
        http.shutdown()
        http.server_close()
        thread.join()
