"""`Server-Timing`: where the time of one call of `/forward` went (https://www.w3.org/TR/server-timing/)."""

import re
from dataclasses import dataclass

DURATION = re.compile(r";\s*dur=([0-9]+(?:\.[0-9]+)?)")


@dataclass(slots=True)
class Timing:
    """Seconds of each stage, in their order; None: the call did not come that far."""

    upload: float | None = None
    """From the call's head until its body was complete."""
    queue: float | None = None
    """What the model server took beyond the model: the wait for a worker, the transport, a second attempt."""
    model: float | None = None
    """Decoding and inference, as the handler measured them."""
    record: float | None = None
    """Until the call's row was committed."""

    def answered(self, took: float, handler: str | None) -> None:
        """Divides what the model server took; `handler` is the `Server-Timing` of its answer, if it sent one."""
        self.model = sum(map(float, DURATION.findall(handler))) / 1000 if handler else None
        self.queue = max(0.0, took - (self.model or 0.0))

    def header(self) -> bytes:
        """The header's value, in milliseconds."""
        stages = (("upload", self.upload), ("queue", self.queue), ("model", self.model), ("record", self.record))
        return ", ".join(f"{name};dur={1000 * seconds:.3f}" for name, seconds in stages if seconds is not None).encode()
