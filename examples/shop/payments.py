"""The shop's payments service: FastAPI on uvicorn, asynchronous, with a SQLite ledger.

python examples/shop/payments.py --port 8001
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import ddtrace_manual as dd
from ddtrace_manual.integrations import AsgiMiddleware


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Trace, and keep a ledger, from the first request to the last.

    uvicorn ends the process with the signal it received, so the end of the program is here.
    """
    dd.configure(service="shop-payments", env="demo", version="1.0")
    with tempfile.TemporaryDirectory() as folder:
        app.state.ledger = str(Path(folder) / "ledger.sqlite")
        with sqlite3.connect(app.state.ledger) as database:
            database.execute("CREATE TABLE ledger (order_id TEXT PRIMARY KEY, amount INTEGER)")
        yield
    await asyncio.to_thread(dd.shutdown)


# New versions of FastAPI make OpenTelemetry spans themselves. Here the middleware makes them.
app = FastAPI(lifespan=lifespan, telemetry={"tracing": False})
app.add_middleware(AsgiMiddleware, excluded_paths=["/health"])


class Charge(BaseModel):
    """What the gateway asks for. Amounts are in cents."""

    order_id: str
    amount: int
    card: str


class CardDeclined(Exception):  # noqa: N818 - a business outcome
    """The bank said no."""


@app.post("/charges", status_code=201)
async def create_charge(charge: Charge) -> dict[str, str]:
    """Check and book a charge; 402 when the card is declined."""
    try:
        await asyncio.gather(check_fraud(charge.order_id), reserve(charge.card, charge.amount))
    except CardDeclined as exc:
        raise HTTPException(402, detail=str(exc)) from exc
    await asyncio.to_thread(book, charge)
    return {"status": "charged"}


@app.get("/charges/{order_id}")
async def read_charge(order_id: str) -> dict[str, int | str]:
    """Return what was charged for an order."""
    return {"order_id": order_id, "amount": await asyncio.to_thread(find, order_id)}


@app.get("/health")
async def health() -> str:
    """Answer without a trace."""
    return "ok"


@dd.traced("payments.check_fraud")
async def check_fraud(order_id: str) -> None:
    """Ask the fraud model, which takes a moment."""
    dd.add_event("model.called", {"model": "fraud-2", "order": order_id})
    await asyncio.sleep(0.003)


@dd.traced("payments.reserve")
async def reserve(card: str, amount: int) -> None:
    """Reserve the money at the bank.

    Raises:
        CardDeclined: The bank said no.
    """
    dd.set_tags({"amount": amount, "card.last4": card[-4:]})
    await asyncio.sleep(0.005)
    if card.endswith("0002"):
        raise CardDeclined(f"card ending in {card[-4:]} was declined")


@dd.traced("payments.book", resource="INSERT INTO ledger", span_type="sql", kind="client", tags={"db.system": "sqlite"})
def book(charge: Charge) -> None:
    """Write the ledger, in a worker thread."""
    with sqlite3.connect(app.state.ledger, timeout=10) as database:
        database.execute("INSERT INTO ledger VALUES (?, ?)", (charge.order_id, charge.amount))
    database.close()


@dd.traced("payments.find", resource="SELECT FROM ledger", span_type="sql", kind="client", tags={"db.system": "sqlite"})
def find(order_id: str) -> int:
    """Read the ledger, in a worker thread."""
    with sqlite3.connect(app.state.ledger, timeout=10) as database:
        row = database.execute("SELECT amount FROM ledger WHERE order_id = ?", (order_id,)).fetchone()
    database.close()
    return int(row[0]) if row else 0


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
