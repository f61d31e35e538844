"""The search page's server in a thread of this process."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import uvicorn
from trazo.search.engine import Search
from trazo.search.server import application, trusted_hosts


@dataclass
class Served:
    """A server that runs in a thread of this process."""

    port: int
    search: Search

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str, **options) -> requests.Response:
        return requests.post(f"{self.address}/api/{path}", timeout=60, **options)

    def raw(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()


@contextmanager
def serving(search: Search) -> Iterator[Served]:
    """Serve a study, to be searched by the server's thread alone, for the time of a `with` block."""
    app = application(search, hosts=trusted_hosts("127.0.0.1"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Served(server.servers[0].sockets[0].getsockname()[1], search)
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
