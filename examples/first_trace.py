"""A traced job: two functions, a block, a tag, an event and an error."""

import time

# --8<-- [start:setup]
import ddtrace_manual as dd

dd.configure(service="bakery", env="dev", version="1.0")
# --8<-- [end:setup]


# --8<-- [start:functions]
@dd.traced
def bake(loaves: int) -> int:
    dd.set_tag("loaves", loaves)
    knead(loaves)
    with dd.span("oven.heat", resource="230 °C") as span:
        time.sleep(0.01)
        span.add_event("oven.ready", {"minutes": 12})
    return loaves


@dd.traced("dough.knead", resource="by hand", tags={"flour": "rye"})
def knead(loaves: int) -> None:
    if loaves > 20:
        raise ValueError("the bowl is too small")
    time.sleep(0.002 * loaves)


# --8<-- [end:functions]

# --8<-- [start:run]
bake(3)
try:
    bake(40)
except ValueError as exc:
    print(f"no bread: {exc}")  # the exception is yours, unchanged; the trace has it too

dd.flush()  # a program that just ends does this by itself
# --8<-- [end:run]
