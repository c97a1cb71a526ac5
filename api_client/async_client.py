"""The client for asyncio: the same calls as `Client`'s."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import httpx
from tenacity import AsyncRetrying

from api_client import answers, calls
from api_client.answers import Classification, HistoryRow, Stats, Token
from api_client.calls import PAGE, Call, Image, Moment, Sort, signed
from api_client.connection import connected
from api_client.errors import accepted, unreachable
from api_client.retries import RETRY_FOR, TIMEOUT, policy


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
        self._http = connected(httpx.AsyncClient, url, timeout=timeout, transport=transport)
        self._policy = policy(retry_for)

    async def classify(self, image: Image, top_k: int = 5) -> Classification:
        """As `Client.classify`. A file is read at once, before anything is awaited."""
        return answers.classification(await self._send(calls.classify(image, top_k)))

    async def send_json(self, data: Any) -> Any:
        """As `Client.send_json`."""
        return answers.received(await self._send(calls.send_json(data)))

    async def login(self, username: str, password: str) -> Token:
        """As `Client.login`."""
        token = answers.token(await self._send(calls.login(username, password)))
        self.token = token.access_token
        return token

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
            rows, cursor = answers.page(await self._send(calls.history(cursor, page_size, filters)))
            for row in rows:
                yield row
            if cursor is None:
                return

    async def stats(
        self, *, since: Moment | None = None, until: Moment | None = None, window: str | None = None
    ) -> Stats:
        """As `Client.stats`."""
        return answers.statistics(await self._send(calls.stats({"since": since, "until": until, "window": window})))

    async def _send(self, call: Call) -> httpx.Response:
        return await AsyncRetrying(**self._policy)(self._attempt, call)

    async def _attempt(self, call: Call) -> httpx.Response:
        try:
            answer = await self._http.request(call.method, call.path, **signed(call, self.token))
        except httpx.RequestError as error:
            raise unreachable(error, self._http.base_url) from error
        return accepted(answer)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
