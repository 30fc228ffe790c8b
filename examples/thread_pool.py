"""A thread pool with and without the context of whoever submits the work."""

from concurrent.futures import ThreadPoolExecutor

import ddtrace_manual as dd
from ddtrace_manual.integrations import ContextThreadPoolExecutor, wrap

dd.configure(service="bakery", env="dev")


@dd.traced("bread.bake")
def bake(number: int) -> int:
    dd.set_tag("loaf", number)
    return number


# --8<-- [start:without]
with dd.span("morning"), ThreadPoolExecutor(2) as pool:
    list(pool.map(bake, range(3)))  # four traces: the morning, and each loaf by itself
# --8<-- [end:without]

# --8<-- [start:with]
with dd.span("morning"), ContextThreadPoolExecutor(2) as pool:
    list(pool.map(bake, range(3)))  # one trace: three loaves under the morning
# --8<-- [end:with]

# --8<-- [start:wrap]
with dd.span("morning"), ThreadPoolExecutor(2) as pool:
    pool.submit(wrap(bake), 7).result()  # one call, in a pool that somebody else made
# --8<-- [end:wrap]

dd.flush()
