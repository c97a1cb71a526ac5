"""What tests of several packages share. Torch is imported only by those that ask for weights."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.weights import Weights


@pytest.fixture(scope="session")
def untrained_weights() -> "Weights":
    """ResNet50 that tells images apart; made once, as it takes ten seconds."""
    from cli.weights import untrained  # noqa: PLC0415

    return untrained("resnet50")
