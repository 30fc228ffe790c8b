"""Celery tasks that run in the trace of whoever sent them."""

# --8<-- [start:app]
from celery import Celery

import ddtrace_manual as dd
from ddtrace_manual.integrations import connect_celery

dd.configure(service="shop", env="dev", version="1.0")

app = Celery("shop", broker="memory://", backend="cache+memory://")
connect_celery(app)


@app.task
def book(order: str) -> str:
    dd.set_tag("order", order)
    return f"{order} booked"


# --8<-- [end:app]


def main() -> None:
    from celery.contrib.testing.worker import start_worker

    app.conf.broker_connection_retry_on_startup = False
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="error"), dd.span("checkout"):
        print(book.delay("order 7").get(timeout=20))


if __name__ == "__main__":
    main()
