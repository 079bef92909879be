"""The server of the page of `toy.explore`: it keeps nothing of a visitor, and answers to this machine's own pages only.

    GET /            the page
    GET /data/KEY    a table, see `toy.explore.scene`; computed once, in one thread, and kept under gzip

What it holds is bounded: CONNECTIONS at a time with at most a small request each, and as many tables as there are keys,
at most 20 MB. Everything that it does not answer it refuses in one line.
"""

from __future__ import annotations

import asyncio
import gzip
import resource
from collections.abc import Awaitable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from theory.common.signals import handled, interruption
from toy.explore.choices import Offer
from toy.explore.page import page
from toy.explore.scene import packed

CONNECTIONS = 512  # at a time; fewer where the system allows fewer open files
REQUEST = 16_384  # bytes of a request's head, at most
BODY = 1024  # of its body, which nothing reads
IDLE, SLOW = 60.0, 10.0  # seconds until a silent connection, or one that does not end its request, is closed
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\ntoo many visitors\n"
HOSTS = ("127.0.0.1", "localhost")


class Tables:
    """The tables of an offer, each computed once in a thread."""

    def __init__(self, offer: Offer):
        self.known = frozenset(offer.tables())
        self.pool = ThreadPoolExecutor(1)
        self.found: dict[str, Future[bytes]] = {}

    async def get(self, key: str) -> bytes:
        """The table. Raises KeyError: the offer has none of this name."""
        if key not in self.known:
            raise KeyError(key)
        if key not in self.found:
            self.found[key] = self.pool.submit(packed, key)
        try:
            return await asyncio.shield(asyncio.wrap_future(self.found[key]))
        except MemoryError:
            self.found.pop(key, None)  # to be tried again
            raise HTTPError(503, reason="out of memory") from None


class Guarded(RequestHandler):
    """Refuses what a page from elsewhere asks: by another name for this machine (DNS rebinding), or as its origin."""

    def set_default_headers(self) -> None:
        for name, value in {
            "Server": "toy.explore",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        host, origin = self.request.headers.get("Host", ""), self.request.headers.get("Origin")
        if host.rsplit(":", 1)[0] not in HOSTS:
            raise HTTPError(403, reason=f"Host must be one of {', '.join(HOSTS)}")
        if origin is not None and origin != f"http://{host}":
            raise HTTPError(403, reason="Origin must be this page's own")
        if self.request.method not in ("GET", "HEAD"):
            raise HTTPError(405, reason="GET only")

    def write_error(self, status_code: int, **_: Any) -> None:
        """One line."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {self._reason}\n")


class Elsewhere(Guarded):
    """Any other address."""

    def get(self) -> None:
        raise HTTPError(404, reason="only / and /data/KEY are here")

    head = get


class Start(Guarded):
    """The page."""

    def initialize(self, html: bytes) -> None:
        self.html = html

    def get(self) -> None:
        self.finish(self.html)

    head = get


class Data(Guarded):
    """A table."""

    def initialize(self, tables: Tables) -> None:
        self.tables = tables

    async def get(self, key: str) -> None:
        try:
            table = await self.tables.get(key)
        except KeyError:
            raise HTTPError(404, reason="no such table") from None
        self.set_header("Content-Type", "application/json")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
        else:
            table = gzip.decompress(table)
        self.finish(table)

    head = get


class Bounded(HTTPServer):
    """A server of at most so many connections at a time; those beyond are told so and closed."""

    limit = CONNECTIONS
    open = 0

    def handle_stream(self, stream: IOStream, address: Any) -> Awaitable[None] | None:  # type: ignore[override]
        if self.open >= self.limit:
            return turn_away(stream)
        self.open += 1
        super().handle_stream(stream, address)
        return None

    def on_close(self, server_conn: object) -> None:
        self.open -= 1
        super().on_close(server_conn)


async def turn_away(stream: IOStream) -> None:
    try:
        await stream.write(BUSY)
    except StreamClosedError:
        pass
    finally:
        stream.close()


class Server:
    """Listens on 127.0.0.1, where nothing but this machine's programs reach it; `run` answers.

    Args:
        offer: what the page offers.
        port: 0 is any free one.

    Raises:
        OSError: the port is taken or not allowed.
    """

    def __init__(self, offer: Offer, port: int):
        self.sockets = bind_sockets(port, "127.0.0.1")
        self.port: int = self.sockets[0].getsockname()[1]
        self.tables = Tables(offer)
        self.application: HTTPServerConnectionDelegate = Application(
            [("/", Start, {"html": page(offer).encode()}), ("/data/(.*)", Data, {"tables": self.tables})],
            default_handler_class=Elsewhere,
            log_function=lambda handler: None,
        )
        self.asked: list[int] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.end = asyncio.Event()

    def run(self) -> None:
        """Answers until a request to stop; raises its exception then, and not amid the loop's work."""
        try:
            with handled(self.ask):
                asyncio.run(self._run())
        finally:
            self.tables.pool.shutdown(wait=False, cancel_futures=True)
        if self.asked:
            raise interruption(self.asked[0])

    def ask(self, number: int, _frame: object) -> None:
        """The handler of a request."""
        self.asked.append(number)
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.end.set)

    async def _run(self) -> None:
        server = Bounded(
            self.application,
            max_header_size=REQUEST,
            max_body_size=BODY,
            idle_connection_timeout=IDLE,
            body_timeout=SLOW,
        )
        server.limit = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 64)
        server.add_sockets(self.sockets)
        self.loop = asyncio.get_running_loop()
        if not self.asked:
            await self.end.wait()
