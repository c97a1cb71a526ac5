"""What the OpenAPI document says that Litestar cannot derive: the error answers, and the body of `/forward`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from api import examples


class Error(msgspec.Struct):
    """Every error body."""

    detail: str


def errors(details: Mapping[int, str]) -> dict[int, ResponseSpec]:
    """The documented error answers of a route, by code, each with an example of its message."""
    everywhere = {500: "internal server error"}
    return {
        code: ResponseSpec(Error, description=detail, examples=[Example(value={"detail": detail})])
        for code, detail in {**details, **everywhere}.items()
    }


def exampled(answer: Any, body: Any = None) -> type[Operation]:
    """An operation class that gives the route's success answer, and its body, an example."""

    @dataclass
    class Exampled(Operation):
        def __post_init__(self) -> None:
            success = next(iter((self.responses or {}).values()))
            contents = [(success, answer), *([(self.request_body, body)] if body is not None else [])]
            for part, example in contents:
                if isinstance(part, OpenAPIResponse | RequestBody):
                    for content in (part.content or {}).values():
                        content.example = msgspec.Raw(msgspec.json.encode(example))  # Litestar would drop its nulls

    return Exampled


def exampled_text(answers: Mapping[str, str]) -> type[Operation]:
    """An operation class for a route whose success answer is text, with an example for each of its media types."""

    @dataclass
    class Text(Operation):
        def __post_init__(self) -> None:
            success = next(iter((self.responses or {}).values()))
            if isinstance(success, OpenAPIResponse):
                success.content = {
                    media_type: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING), example=example)
                    for media_type, example in answers.items()
                }

    return Text


_IMAGE = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="An image file.")
_DATA = Schema(type=OpenAPIType.STRING, description="JSON text.")
_PREDICTION = Schema(
    type=OpenAPIType.OBJECT,
    required=["class", "probability"],
    properties={"class": Schema(type=OpenAPIType.STRING), "probability": Schema(type=OpenAPIType.NUMBER)},
)
_RESULT = Schema(
    type=OpenAPIType.OBJECT,
    required=["result"],
    properties={
        "result": Schema(
            one_of=[
                Schema(
                    title="ImageResult",
                    type=OpenAPIType.OBJECT,
                    required=["predictions", "top_class", "top_probability"],
                    properties={
                        "predictions": Schema(type=OpenAPIType.ARRAY, items=_PREDICTION),
                        "top_class": Schema(type=OpenAPIType.STRING),
                        "top_probability": Schema(type=OpenAPIType.NUMBER),
                        "warning": Schema(type=OpenAPIType.STRING, description="Only for untrained weights."),
                    },
                ),
                Schema(
                    title="JsonResult",
                    type=OpenAPIType.OBJECT,
                    required=["message", "received_data"],
                    properties={
                        "message": Schema(type=OpenAPIType.STRING),
                        "received_data": Schema(description="What was sent, unchanged."),
                    },
                ),
            ]
        )
    },
)
_ANSWERS = {
    "image": Example(summary="An image", value={"result": examples.IMAGE_RESULT}),
    "json": Example(summary="JSON", value={"result": examples.JSON_RESULT}),
}


def _form(properties: dict[str, Schema], example: dict[str, str] | None = None) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT, properties=dict(properties)), example=example)


@dataclass
class ForwardOperation(Operation):
    """`/forward` reads its body itself, so its document is written out here."""

    def __post_init__(self) -> None:
        """Adds what Litestar cannot derive from the signature."""
        self.parameters = [
            Parameter(
                name="top_k",
                param_in="query",
                description="How many classes to answer, most probable first.",
                schema=Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=1000, default=5),
            )
        ]
        self.request_body = RequestBody(
            required=True,
            description="Exactly one of an image or JSON. `data` may also come in a multipart form, alone.",
            content={
                # Without `data`: Swagger UI would send it beside the image, filled in.
                "multipart/form-data": _form({"image": _IMAGE}),
                "application/x-www-form-urlencoded": _form(
                    {"data": _DATA}, {"data": '{"text": "sample data", "value": 123}'}
                ),
                "application/json": OpenAPIMediaType(schema=Schema(description="Any JSON."), example={"value": 123}),
                "image/*": OpenAPIMediaType(schema=_IMAGE),
            },
        )
        answer = OpenAPIResponse(
            description="The model's predictions, or the JSON that was sent.",
            content={"application/json": OpenAPIMediaType(schema=_RESULT, examples=dict(_ANSWERS))},
        )
        self.responses = {**(self.responses or {}), "200": answer}
