"""The two clients: the same calls, one waits and the other awaits."""

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

import httpx
from tenacity import AsyncRetrying, Retrying

from api_client import calls
from api_client.answers import Classification, HistoryRow, Stats, Token, classification, history_row, statistics
from api_client.calls import Call, Image, Moment, Sort
from api_client.errors import ApiError, Unreachable
from api_client.retries import policy

TIMEOUT = 60.0
"""Seconds for one attempt; the service itself gives up on the model after 30."""
RETRY_FOR = 60.0
PAGE = 200


class Client:
    """Calls of the API at `url`; usable from several threads. `token` goes with every call.

    Every method raises `ApiError` for an answer of 400 and above and `Unreachable` where none came. A call that may
    succeed later is sent again, for up to `retry_for` seconds; 0 turns that off. `transport` stands in for the network.
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
        self._http = httpx.Client(base_url=url, timeout=timeout, transport=transport)
        self._policy = policy(retry_for)

    def classify(self, image: Image, top_k: int = 5) -> Classification:
        """The `top_k` most probable classes of an image: a path, bytes, or an open file."""
        return classification(self._send(calls.classify(image, top_k)))

    def send_json(self, data: Any) -> Any:
        """Sends JSON, which the service records; what it says it has received."""
        return self._send(calls.send_json(data)).json()["result"]["received_data"]

    def login(self, username: str, password: str) -> Token:
        """Signs in; calls from here on carry the token."""
        answer = self._send(calls.login(username, password)).json()
        self.token = answer["access_token"]
        return Token(answer["access_token"], answer["expires_in"])

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
            page = self._send(calls.history(cursor, page_size, filters)).json()
            yield from map(history_row, page["items"])
            if (cursor := page["next_cursor"]) is None:
                return

    def stats(self, *, since: Moment | None = None, until: Moment | None = None, window: str | None = None) -> Stats:
        """Statistics of the history. Takes an administrator's token."""
        return statistics(self._send(calls.stats({"since": since, "until": until, "window": window})))

    def _send(self, call: Call) -> httpx.Response:
        return Retrying(**self._policy)(self._attempt, call)

    def _attempt(self, call: Call) -> httpx.Response:
        try:
            answer = self._http.request(call.method, call.path, **_signed(call, self.token))
        except httpx.TransportError as error:
            raise _unreachable(error, self._http.base_url) from error
        return _accepted(answer)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """`Client` for asyncio: the same calls, to be awaited, and `history` to be read with `async for`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
        retry_for: float = RETRY_FOR,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.token = token
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, transport=transport)
        self._policy = policy(retry_for)

    async def classify(self, image: Image, top_k: int = 5) -> Classification:
        """As `Client.classify`. A file is read at once, before anything is awaited."""
        return classification(await self._send(calls.classify(image, top_k)))

    async def send_json(self, data: Any) -> Any:
        """As `Client.send_json`."""
        return (await self._send(calls.send_json(data))).json()["result"]["received_data"]

    async def login(self, username: str, password: str) -> Token:
        """As `Client.login`."""
        answer = (await self._send(calls.login(username, password))).json()
        self.token = answer["access_token"]
        return Token(answer["access_token"], answer["expires_in"])

    async def history(
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
    ) -> AsyncIterator[HistoryRow]:
        """As `Client.history`."""
        filters = {
            **{"since": since, "until": until, "window": window, "status_code": status_code},
            **{"request_type": request_type, "user": user, "sort": sort},
        }
        cursor = None
        while True:
            page = (await self._send(calls.history(cursor, page_size, filters))).json()
            for item in page["items"]:
                yield history_row(item)
            if (cursor := page["next_cursor"]) is None:
                return

    async def stats(
        self, *, since: Moment | None = None, until: Moment | None = None, window: str | None = None
    ) -> Stats:
        """As `Client.stats`."""
        return statistics(await self._send(calls.stats({"since": since, "until": until, "window": window})))

    async def _send(self, call: Call) -> httpx.Response:
        return await AsyncRetrying(**self._policy)(self._attempt, call)

    async def _attempt(self, call: Call) -> httpx.Response:
        try:
            answer = await self._http.request(call.method, call.path, **_signed(call, self.token))
        except httpx.TransportError as error:
            raise _unreachable(error, self._http.base_url) from error
        return _accepted(answer)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _signed(call: Call, token: str | None) -> dict[str, Any]:
    options = dict(call.options)
    if token is not None:
        options["headers"] = {**options.get("headers", {}), "Authorization": f"Bearer {token}"}
    return options


def _accepted(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise ApiError.of(answer)
    return answer


def _unreachable(error: httpx.TransportError, url: httpx.URL) -> Unreachable:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Unreachable(f"no answer from {url}: {reason}")
