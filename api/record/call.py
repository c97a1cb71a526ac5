"""A call of `/forward` on its way to being a row of the record."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from api.timing import Timing


@dataclass(slots=True)
class Call:
    """What is known of a call so far; the route fills it in."""

    request_type: str = "unknown"
    user_id: int | None = None
    image_size: tuple[int | None, int | None] = (None, None)
    result: str | None = None
    error_message: str | None = None
    received: int = 0
    body_complete: bool = False
    max_delay: float | None = None
    """Seconds that its answer may wait for a shared commit, as the model has other images meanwhile; None: as its code
    says."""
    timing: Timing = field(default_factory=Timing)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=time.perf_counter)

    def receive(self, size: int, *, more: bool) -> None:
        """A part of the body came."""
        self.received += size
        if not more and not self.body_complete:
            self.body_complete = True
            self.timing.upload = time.perf_counter() - self._started

    def row(self, status: int, request_id: str) -> dict[str, Any]:
        """The row as it stands now; `processing_time` ends here."""
        width, height = self.image_size
        return {
            "request_id": request_id,
            "request_type": self.request_type,
            "processing_time": time.perf_counter() - self._started,
            "input_data_size": self.received,
            "image_width": width,
            "image_height": height,
            "status_code": status,
            "result": self.result,
            "error_message": self.error_message,
            "user_id": self.user_id,
            "created_at": self.created_at,
        }
