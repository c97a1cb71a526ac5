"""What a scrape of `/metrics` says."""

from collections import Counter

import httpx
from prometheus_client.parser import text_string_to_metric_families


def samples(answer: httpx.Response) -> dict[tuple[str, frozenset], float]:
    """Every sample by its name and labels."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(answer: httpx.Response, name: str, **labels: str) -> float:
    """One sample; 0 if there is none yet."""
    return samples(answer).get((name, frozenset(labels.items())), 0.0)


def forward_codes(answer: httpx.Response) -> Counter[int]:
    """Calls of `POST /forward` by code."""
    counted: Counter[int] = Counter()
    for (name, labels), count in samples(answer).items():
        if name == "ml_service_http_request_duration_seconds_count":
            described = dict(labels)
            if (described["method"], described["route"]) == ("POST", "/forward"):
                counted[int(described["code"])] += int(count)
    return counted
