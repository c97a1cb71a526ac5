"""What an archive can compute in. A module of its own, as the command's help knows it without torch."""

from typing import Literal

Precision = Literal["auto", "fp32", "bf16", "int8"]
"""auto: bf16 where the hardware has it, else fp32."""
