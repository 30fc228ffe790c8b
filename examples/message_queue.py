"""A trace through a message queue, as parent, as link and as a batch."""

import queue

import ddtrace_manual as dd

# --8<-- [start:setup]
from ddtrace_manual.integrations import producer_headers, traced_consumer, traced_producer

# --8<-- [end:setup]

dd.configure(service="shop", env="dev", version="1.0")
orders: queue.Queue = queue.Queue()


# --8<-- [start:produce]
def send(order: str) -> None:
    with traced_producer("orders", system="kafka"):
        orders.put((producer_headers([], form="kafka"), order))


# --8<-- [end:produce]


# --8<-- [start:consume]
def receive() -> None:
    headers, order = orders.get()
    with traced_consumer("orders", headers, system="kafka") as span:
        span.set_tag("order", order)


# --8<-- [end:consume]


# --8<-- [start:link]
def receive_later() -> None:
    headers, _order = orders.get()
    with traced_consumer("orders", headers, system="kafka", relation="link"):
        pass


# --8<-- [end:link]


# --8<-- [start:batch]
def receive_many() -> None:
    messages = [orders.get() for _ in range(2)]
    with traced_consumer("orders", batch=[headers for headers, _ in messages], system="kafka"):
        pass


# --8<-- [end:batch]

for number in range(4):
    send(f"order {number}")
receive()
receive_later()
receive_many()
