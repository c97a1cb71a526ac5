"""FastAPI with the model inside: one process, inference off the event loop, and the service's record.

Every call is one row, committed before the answer, through SQLAlchemy's async session, on SQLite with WAL and one
connection (faster under load than the default pool, whose connections wait for each other's lock).
An inference thread for each core, with one torch thread each: tried on two cores, that was faster under load than one
inference thread with torch's default of a thread for each core.
"""

import asyncio
import io
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from PIL import Image
from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from api.database import set_pragmas
from api.models import ForwardRequest
from benchmarks.peers.model import Classifier
from cli.serving.hardware import cores

classifier = Classifier()
pool = ThreadPoolExecutor(cores())
engine = create_async_engine(os.environ["BENCHMARK_DATABASE"], pool_size=1, max_overflow=0, pool_timeout=120)
event.listen(engine.sync_engine, "connect", set_pragmas)
sessions = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Makes the tables."""
    async with engine.begin() as connection:
        await connection.run_sync(ForwardRequest.metadata.create_all)
    yield
    await engine.dispose()


def predict(body: bytes) -> tuple[dict[str, Any], tuple[int, int]]:
    """The answer, and the image's width and height."""
    with Image.open(io.BytesIO(body)) as header:
        size = header.size
    return classifier.classify(classifier.preprocess(body)), size


async def forward(
    image: Annotated[UploadFile | None, File()] = None, data: Annotated[str | None, Form()] = None
) -> dict[str, Any]:
    """One image to the model, or one JSON document back to its sender."""
    started = time.perf_counter()
    size: tuple[int | None, int | None] = (None, None)
    if image is not None:
        body = await image.read()
        result, size = await asyncio.get_running_loop().run_in_executor(pool, predict, body)
    elif data is not None:
        body = data.encode()
        result = {"message": "JSON data processed", "received_data": json.loads(data)}
    else:
        raise HTTPException(400, "bad request")
    row = ForwardRequest(
        request_id=uuid.uuid4().hex,
        request_type="json" if image is None else "image",
        processing_time=time.perf_counter() - started,
        input_data_size=len(body),
        image_width=size[0],
        image_height=size[1],
        status_code=200,
        result=json.dumps(result),
    )
    async with sessions() as session:
        session.add(row)
        await session.commit()
    return {"result": result}


app = FastAPI(lifespan=lifespan)
app.add_api_route("/forward", forward, methods=["POST"])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCHMARK_PORT"]), access_log=False, log_level="warning")
