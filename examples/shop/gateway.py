"""The shop's front: an HTTP gateway on Flask, with a SQLite database and a thread pool.

    python examples/shop/gateway.py --port 8000 --payments http://127.0.0.1:8001

Requests in and out are traced by a middleware and a session; every other span is written by hand.
"""

from __future__ import annotations

import argparse
import contextvars
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import serving
from flask import Flask, Response, g, jsonify, request
from werkzeug.serving import make_server

import ddtrace_manual as dd
from ddtrace_manual.integrations import WsgiMiddleware, traced_requests_session

PRICES = {"book": 1250, "lamp": 3900, "desk": 18900}
"""Cents."""

app = Flask(__name__)
session = traced_requests_session()
"""Its requests are client spans, and their headers carry the trace."""
pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="pricing")


def note_request_id(span: dd.Span, environ: dict[str, Any]) -> None:
    """Tag the span of a request with the id that the client gave it."""
    span.set_tag("request.id", environ.get("HTTP_X_REQUEST_ID", ""))


app.wsgi_app = WsgiMiddleware(app.wsgi_app, excluded_paths=["/health"], on_request=note_request_id)  # type: ignore[method-assign]


@app.post("/orders")
def create_order() -> tuple[Response, int]:
    """Price an order, have it paid and store it; 402 when the card is declined."""
    order = request.get_json()
    total = price(order["item"], order["quantity"])
    answer = charge(order["order_id"], total, order["card"])
    if answer.status_code == requests.codes.payment_required:
        # The span that failed is in the payments service; this one answers for it.
        dd.set_error(type="PaymentDeclined", message=answer.json()["detail"])
        return jsonify(error="payment declined"), 402
    answer.raise_for_status()
    store(order["order_id"], order["item"], total)
    return jsonify(order_id=order["order_id"], total=total), 201


@app.get("/orders/<order_id>")
def read_order(order_id: str) -> tuple[Response, int]:
    """Return an order together with what the payments service knows about it."""
    row = load(order_id)
    if row is None:
        return jsonify(error="no such order"), 404
    answer = session.get(f"{payments()}/charges/{order_id}", timeout=10)
    return jsonify(order_id=order_id, item=row["item"], charge=answer.json()), 200


@app.get("/health")
def health() -> str:
    """Answer without a trace."""
    return "ok"


@dd.traced("shop.price")
def price(item: str, quantity: int) -> int:
    """Return the price in cents; the discount is looked up in another thread meanwhile."""
    # A pool's threads do not know the caller's span: its context is handed over explicitly.
    discount = pool.submit(contextvars.copy_context().run, look_up_discount, quantity)
    total = PRICES[item] * quantity
    dd.set_tags({"item": item, "quantity": quantity})
    return total - total * discount.result() // 100


@dd.traced("shop.discount", resource="look_up_discount")
def look_up_discount(quantity: int) -> int:
    """Return the discount in per cent."""
    return 10 if quantity >= 5 else 0


def charge(order_id: str, amount: int, card: str) -> requests.Response:
    """Ask the payments service for the money; the trace goes along in the headers."""
    return session.post(
        f"{payments()}/charges", json={"order_id": order_id, "amount": amount, "card": card}, timeout=10
    )


def store(order_id: str, item: str, total: int) -> None:
    """Write an order."""
    query("INSERT INTO orders (order_id, item, total) VALUES (?, ?, ?)", order_id, item, total)


def load(order_id: str) -> sqlite3.Row | None:
    """Return an order, or `None`."""
    rows = query("SELECT item, total FROM orders WHERE order_id = ?", order_id)
    return rows[0] if rows else None


def query(statement: str, *values: object) -> list[sqlite3.Row]:
    """Run one statement in its own span."""
    with dd.span("sqlite.query", resource=statement, kind="client", span_type="sql") as span:
        span.set_tag("db.system", "sqlite")
        with connection() as database:
            rows = database.execute(statement, values).fetchall()
        span.set_tag("db.response.returned_rows", len(rows))
        return rows


def connection() -> sqlite3.Connection:
    """Return this request's connection."""
    if "database" not in g:
        g.database = sqlite3.connect(app.config["database"], timeout=10)
        g.database.row_factory = sqlite3.Row
    database: sqlite3.Connection = g.database
    return database


@app.teardown_appcontext
def close_connection(_error: BaseException | None) -> None:
    """Close this request's connection."""
    database = g.pop("database", None)
    if database is not None:
        database.close()


def payments() -> str:
    """Return the address of the payments service."""
    address: str = app.config["payments"]
    return address


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--payments", required=True)
    args = parser.parse_args()
    dd.configure(service="shop-gateway", env="demo", version="1.0")
    with tempfile.TemporaryDirectory() as folder:
        app.config.update(database=str(Path(folder) / "orders.sqlite"), payments=args.payments)
        with sqlite3.connect(app.config["database"]) as database:
            database.execute("CREATE TABLE orders (order_id TEXT PRIMARY KEY, item TEXT, total INTEGER)")
        serving.until_stopped(make_server("127.0.0.1", args.port, app, threaded=True))
    pool.shutdown()
    dd.shutdown()


if __name__ == "__main__":
    main()
