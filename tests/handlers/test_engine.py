"""What a worker does with its memory."""

import os
import subprocess
import sys

FAULTS = """
import resource, sys, torch
from handlers.engine import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def inference():
    return [torch.zeros(4 << 20, dtype=torch.uint8) for _ in range(4)]

for _ in range(5):
    inference()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    inference()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    # Left to itself, malloc moves its thresholds: whether it gives memory back depends on what ends the heap.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", FAULTS, how]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(ran.stdout)


def test_what_an_inference_frees_is_kept_for_the_next():
    assert page_faults("keep") < 100 < page_faults("do not")
