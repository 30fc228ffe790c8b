"""A gRPC call that is traced on both sides."""

from concurrent.futures import ThreadPoolExecutor

# --8<-- [start:interceptors]
import grpc

import ddtrace_manual as dd
from ddtrace_manual.integrations import GrpcClientInterceptor, GrpcServerInterceptor

dd.configure(service="shop", env="dev", version="1.0")


def make_server() -> grpc.Server:
    return grpc.server(
        ThreadPoolExecutor(4),
        interceptors=[GrpcServerInterceptor(excluded_methods=("/grpc.health.v1.Health/Check",))],
    )


def connect(address: str) -> grpc.Channel:
    return grpc.intercept_channel(grpc.insecure_channel(address), GrpcClientInterceptor())


# --8<-- [end:interceptors]


def price(request: bytes, _context: grpc.ServicerContext) -> bytes:
    with dd.span("price"):
        return request.upper()


def main() -> None:
    server = make_server()
    methods = {"Price": grpc.unary_unary_rpc_method_handler(price)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Prices", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with connect(f"127.0.0.1:{port}") as channel, dd.span("checkout"):
        print(channel.unary_unary("/shop.Prices/Price")(b"lamp", timeout=10))
    server.stop(1).wait()


if __name__ == "__main__":
    main()
