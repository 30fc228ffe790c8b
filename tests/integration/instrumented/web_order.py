"""Program in the environment of the instrumentation packages: FastAPI's `yield` dependencies and pydantic."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import pydantic
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

import ddtrace_manual as dd
from ddtrace_manual import testing
from ddtrace_manual.exceptions import ConfigurationError

app = FastAPI()


@dd.traced("sync_dependency")
def connection():
    with dd.span("sync_before"):
        pass
    yield 1
    with dd.span("sync_after"):
        pass


@dd.traced("async_dependency")
async def aconnection():
    yield 2
    with dd.span("async_after"):
        pass


@app.get("/")
@dd.traced("endpoint")
async def endpoint(first: Annotated[int, Depends(connection)], second: Annotated[int, Depends(aconnection)]) -> int:
    return first + second


@pydantic.validate_call
@dd.traced("validated")
def double(number: int) -> int:
    return 2 * number


class Order(pydantic.BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    @dd.traced("validator")
    def check(cls, number: int) -> int:
        return number + 1


def message_above_a_validator() -> str:
    try:
        dd.traced("above")(pydantic.field_validator("number")(lambda _, number: number))
    except ConfigurationError as exc:
        return str(exc)
    return ""


recorder = testing.SpanRecorder()
with recorder:
    client = TestClient(app)
    with dd.span("caller") as caller:
        assert client.get("/").json() == 3
        assert dd.current_span() is caller
    assert double("4") == 8
    assert Order(number="1").number == 2
    names = {span.span_id: span.name for span in recorder}
    sys.stdout.write(
        json.dumps(
            {
                "parents": {span.name: names.get(span.parent_id) for span in recorder},
                "message": message_above_a_validator(),
            }
        )
    )
