"""The client that waits for its answers."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx
from tenacity import Retrying

from api_client import answers, calls
from api_client.answers import Classification, HistoryRow, Stats, Token
from api_client.calls import PAGE, Call, Image, Moment, Sort, signed
from api_client.connection import connected
from api_client.errors import accepted, unreachable
from api_client.retries import RETRY_FOR, TIMEOUT, policy


class Client:
    """Calls of the API at `url`; usable from several threads. `token` goes with every call.

    Every method raises `ApiError` for an answer of 400 and above, or of something else than the API, and `Unreachable`
    where none came. A call that may succeed later is sent again, for up to `retry_for` seconds; 0 turns that off.
    `transport` stands in for the network.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
        retry_for: float = RETRY_FOR,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.token = token
        self._http = connected(httpx.Client, url, timeout=timeout, transport=transport)
        self._policy = policy(retry_for)

    def classify(self, image: Image, top_k: int = 5) -> Classification:
        """The `top_k` most probable classes of an image: a path, bytes, or an open file."""
        return answers.classification(self._send(calls.classify(image, top_k)))

    def send_json(self, data: Any) -> Any:
        """Sends JSON, which the service records; what it says it has received."""
        return answers.received(self._send(calls.send_json(data)))

    def login(self, username: str, password: str) -> Token:
        """Signs in; calls from here on carry the token."""
        token = answers.token(self._send(calls.login(username, password)))
        self.token = token.access_token
        return token

    def history(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        window: str | None = None,
        status_code: int | None = None,
        request_type: str | None = None,
        user: str | None = None,
        sort: Sort = "newest",
        page_size: int = PAGE,
    ) -> Iterator[HistoryRow]:
        """All rows of the history that the filters leave, read a page at a time. Takes an administrator's token."""
        filters = {
            **{"since": since, "until": until, "window": window, "status_code": status_code},
            **{"request_type": request_type, "user": user, "sort": sort},
        }
        cursor = None
        while True:
            rows, cursor = answers.page(self._send(calls.history(cursor, page_size, filters)))
            yield from rows
            if cursor is None:
                return

    def stats(self, *, since: Moment | None = None, until: Moment | None = None, window: str | None = None) -> Stats:
        """Statistics of the history. Takes an administrator's token."""
        return answers.statistics(self._send(calls.stats({"since": since, "until": until, "window": window})))

    def _send(self, call: Call) -> httpx.Response:
        return Retrying(**self._policy)(self._attempt, call)

    def _attempt(self, call: Call) -> httpx.Response:
        try:
            answer = self._http.request(call.method, call.path, **signed(call, self.token))
        except httpx.RequestError as error:
            raise unreachable(error, self._http.base_url) from error
        return accepted(answer)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
