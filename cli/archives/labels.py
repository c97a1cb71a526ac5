"""Class names: read from the person's file or from torchvision, and written in lower snake case."""

import json
import re
from pathlib import Path

from cli.errors import LabelsError


def read_labels(path: Path, classes: int) -> list[str]:
    """The names of classes 0 to `classes` - 1.

    The file holds one name a line, or a JSON list, or a JSON object `{"0": "name"}` or `{"0": ["n01440764", "name"]}`
    (ImageNet's usual index). Raises LabelsError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise LabelsError(f"cannot read the labels in {path}: {reason}") from error
    names = parse_json(text, path) if text.lstrip()[:1] in ("[", "{") else text.rstrip().splitlines()
    if len(names) != classes:
        raise LabelsError(f"{path} names {len(names)} classes, and the weights have {classes}")
    return [snake_case(name) for name in names]


def parse_json(text: str, path: Path) -> list[str]:
    """The names in a JSON list or index, in the order of their numbers."""
    try:
        content = json.loads(text)
        if isinstance(content, dict):
            numbers = sorted(content, key=int)
            if [int(number) for number in numbers] != list(range(len(numbers))):
                raise LabelsError(f"{path} does not number its classes 0 to {len(numbers) - 1}")
            content = [content[number] for number in numbers]
            content = [entry[-1] if isinstance(entry, list) and entry else entry for entry in content]
    except (ValueError, RecursionError) as error:
        raise LabelsError(f"{path} holds no list of labels that can be read: {error}") from error
    if not all(isinstance(name, str) for name in content):
        raise LabelsError(f"{path} holds labels that are not text")
    names: list[str] = content
    return names


def snake_case(name: str) -> str:
    """`Golden Retriever` as `golden_retriever`; letters of any alphabet stay. Raises LabelsError if nothing is left."""
    label = re.sub(r"\W+", "_", name.lower()).strip("_")
    if not label:
        raise LabelsError(f"a label needs at least one letter or digit, and {name!r} has none")
    return label
