"""Spans in asyncio: each task has its own current span, below the one that started it."""

import asyncio

import ddtrace_manual as dd

dd.configure(service="bakery", env="dev")


@dd.traced("bread.bake")
async def bake(number: int) -> int:
    dd.set_tag("loaf", number)
    await asyncio.sleep(0.001)
    return number


@dd.traced("morning")
async def morning() -> None:
    baked = await asyncio.gather(*(bake(number) for number in range(5)))
    dd.set_tag("baked", len(baked))


asyncio.run(morning())
dd.flush()
