"""A small shop of two web services and their client, traced by OpenTelemetry's instrumentation packages.

    opentelemetry-instrument python app.py      # instrumented from outside
    python app.py by-hand                       # instrumented by the program itself

Neither service knows of the other's spans but by headers. It prints the trace ids of the client's two spans.
"""

import asyncio
import logging
import sqlite3
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import ddtrace_manual as dd

if sys.argv[1:] == ["by-hand"]:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.logging import LoggingInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor

    dd.configure()
    for instrumentor in (
        FastAPIInstrumentor,
        FlaskInstrumentor,
        HTTPXClientInstrumentor,
        LoggingInstrumentor,
        RequestsInstrumentor,
        SQLAlchemyInstrumentor,
        SQLite3Instrumentor,
        ThreadingInstrumentor,
    ):
        instrumentor().instrument()

import fastapi
import flask
import httpx
import requests
import sqlalchemy
import uvicorn

log = logging.getLogger("shop")


# -- the stock service: Flask, sqlite3 ---------------------------------------------------------------

stock = flask.Flask("stock")


@dd.traced("stock.count", tags={"unit": "pieces"})
def count(item):
    """Look into the database, in a span of our own between the request's and the query's."""
    connection = sqlite3.connect(":memory:")
    try:
        row = connection.cursor().execute("SELECT ? * 2", (item,)).fetchone()
    finally:
        connection.close()
    dd.set_tag("stock.pieces", row[0])
    return row[0]


@stock.get("/stock/<int:item>")
def in_stock(item):
    log.warning("counting")
    return {"pieces": count(item)}


@stock.get("/broken")
def broken():
    raise ValueError("no such shelf")


class QuietHandler(WSGIRequestHandler):
    """A handler that does not log requests."""

    def log_message(self, *_):
        """Say nothing."""


stock_server = make_server("127.0.0.1", 0, stock, handler_class=QuietHandler)
stock_url = f"http://127.0.0.1:{stock_server.server_port}"

# -- the shop service: FastAPI, httpx, SQLAlchemy ------------------------------------------------------

shop = fastapi.FastAPI()
engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)


@shop.get("/orders/{order_id}")
async def order(order_id: int):
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{stock_url}/stock/{order_id}")
    worker = threading.Thread(target=pack)
    worker.start()
    worker.join()
    return answer.json()


@shop.get("/failing")
async def failing():
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{stock_url}/broken")
    return {"status": answer.status_code}


@dd.traced("order.pack")
def pack():
    """Run on a thread of its own, still inside the request's span."""


# -- both services and their client ---------------------------------------------------------------------


def main():
    threading.Thread(target=stock_server.serve_forever, daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(shop, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    for name, path in (("client.order", "/orders/7"), ("client.failing", "/failing")):
        with dd.span(name) as span:
            requests.get(url + path, timeout=10).raise_for_status()
        sys.stdout.write(f"{name} {span.trace_id:032x} {span.span_id:016x}\n")
    server.should_exit = True
    thread.join()
    stock_server.shutdown()


if __name__ == "__main__":
    main()
