"""A handler with the product's interface that only sleeps: what a replica costs without a model.

It goes into an archive and imports nothing of this project.
"""

import json
import time
from typing import Any

SECONDS = 0.05
ANSWER = {"predictions": [{"class": "sleep", "probability": 1.0}], "top_class": "sleep", "top_probability": 1.0}


class Sleeper:
    """One worker."""

    def initialize(self, context: Any) -> None:
        """Nothing to load."""

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """An answer for each row, or what it is where TorchServe asks for that."""
        answers = []
        for i in range(len(data)):
            context.set_response_content_type(i, "application/json")
            described = context.get_request_header(i, "describe") == "True"
            if not described:
                time.sleep(SECONDS)
            answers.append(json.dumps({"name": "sleeper"} if described else ANSWER).encode())
        return answers
