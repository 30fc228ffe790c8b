"""A Starlette application whose requests are traced, and an asynchronous client that calls it."""

import asyncio
import socket

import uvicorn

# --8<-- [start:app]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import ddtrace_manual as dd
from ddtrace_manual.integrations import AsgiMiddleware

dd.configure(service="orders", env="dev", version="1.0")


async def read_order(request: Request) -> JSONResponse:
    async with dd.span("cache.get", resource="order"):
        await asyncio.sleep(0)
    return JSONResponse({"order": request.path_params["order_id"]})


app = Starlette(routes=[Route("/orders/{order_id}", read_order)])
app.add_middleware(AsgiMiddleware, excluded_paths=["/health"])
# --8<-- [end:app]


async def main() -> None:
    import httpx

    from ddtrace_manual.integrations import AsyncTracedHttpxTransport

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with httpx.AsyncClient(transport=AsyncTracedHttpxTransport()) as client, dd.span("client"):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/orders/7"
        print((await client.get(url)).json())
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
