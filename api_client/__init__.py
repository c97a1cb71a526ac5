"""A client of the API for Python programs, synchronous and with asyncio.

It knows the API's addresses and answers and nothing of its code: httpx and tenacity are all it needs.

    from api_client import Client

    with Client("http://127.0.0.1:8000") as client:
        seen = client.classify("photo.jpg")
        print(seen.top_class, seen.top_probability)
"""

from api_client.answers import Classification, Group, HistoryRow, Prediction, Stats, Token
from api_client.async_client import AsyncClient
from api_client.client import Client
from api_client.errors import ApiError, ClientError, Unreachable

__all__ = [
    "ApiError",
    "AsyncClient",
    "Classification",
    "Client",
    "ClientError",
    "Group",
    "HistoryRow",
    "Prediction",
    "Stats",
    "Token",
    "Unreachable",
]
