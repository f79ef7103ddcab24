"""What is served to a browser of this machine: to whoever has the address with its token."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dse.errors import DseError

HOST = "127.0.0.1"

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Gate:
    """Lets through what only reads, from a browser that was given the token.

    Another name that points to this machine (a web page elsewhere may have one) is refused.

    Args:
        app: what is looked at.
        command: that prints the address.
        home: path to which the address leads.
        port: that is served on.

    Attributes:
        address: with the token; the browser keeps it as a cookie.
    """

    def __init__(self, app: App, *, command: str, home: str, port: int) -> None:
        self._app, self._command, self._home = app, command, home
        self._hosts = (f"{HOST}:{port}", f"localhost:{port}")
        self._cookie = f"dse-{port}"
        self.token = secrets.token_urlsafe(24)
        self.address = f"http://{HOST}:{port}/?token={self.token}"

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        if environ.get("HTTP_HOST", "") not in self._hosts:
            said = f"this is {self._hosts[0]}, under no other name"
            return answer(start, "403 Forbidden", said)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            said, allow = "nothing can be changed here", ("Allow", "GET")
            return answer(start, "405 Method Not Allowed", said, allow)
        if self._is_token(*parse_qs(environ.get("QUERY_STRING", "")).get("token", ())):
            cookie = f"{self._cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            headers = [("Location", self._home), ("Set-Cookie", cookie)]
            return answer(start, "303 See Other", "", *headers)
        try:
            held = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self._cookie)
        except CookieError:
            held = None
        if held is None or not self._is_token(held.value):
            return answer(start, "403 Forbidden", f"open the address that {self._command} printed")
        return self._app(environ, start)

    def _is_token(self, *given: str) -> bool:
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in given)


def answer(
    start: Callable[..., Any],
    status: str,
    text: str,
    *headers: tuple[str, str],
    kind: str = "text/plain",
) -> list[bytes]:
    """The answer to a request; nothing is kept by the browser or taken for something else."""
    always = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    start(status, [("Content-Type", f"{kind}; charset=utf-8"), *always, *headers])
    return [f"{text}\n".encode()]


def open_server(gate: Gate, port: int) -> WSGIServer:
    """A server of this machine alone; a request has a thread of its own.

    Raises:
        DseError: the port is in use or cannot be served on.
    """
    try:
        return make_server(HOST, port, gate, _Server, _Handler)
    except OSError as error:
        raise DseError(
            f"port {port} of {HOST} cannot be served on: {error.strerror}; "
            f"choose another: --port {port + 1 if port < 65535 else port - 1}"
        ) from error


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser that holds a connection does not hold the end

    def server_bind(self) -> None:
        # Without the look-up of the machine's name, which may take seconds.
        self.allow_reuse_address = True
        super(WSGIServer, self).server_bind()
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the address holds the token."""
