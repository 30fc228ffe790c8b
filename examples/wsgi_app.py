"""A Flask application whose requests are traced, and a client that calls it."""

import threading

# --8<-- [start:app]
from flask import Flask
from werkzeug.serving import make_server

import ddtrace_manual as dd
from ddtrace_manual.integrations import WsgiMiddleware

dd.configure(service="orders", env="dev", version="1.0")

app = Flask(__name__)
app.wsgi_app = WsgiMiddleware(app.wsgi_app, excluded_paths=["/health", "/static/*"])


@app.get("/orders/<order_id>")
def read_order(order_id: str) -> dict[str, str]:
    with dd.span("sql.query", resource="SELECT * FROM orders", span_type="sql", kind="client"):
        return {"order": order_id}


# --8<-- [end:app]
# --8<-- [start:options]
def is_our_proxy(environ: dict) -> bool:
    return environ.get("REMOTE_ADDR", "").startswith(("10.", "127."))


def add_tenant(span: dd.Span, environ: dict) -> None:
    span.set_tag("tenant", environ.get("HTTP_X_TENANT", "none"))


public = WsgiMiddleware(
    app,
    trust_caller=is_our_proxy,  # who else calls gets a trace of its own, linked to the one it named
    on_request=add_tenant,
)
# --8<-- [end:options]


def main() -> None:
    import logging

    from ddtrace_manual.integrations import traced_requests_session

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with traced_requests_session() as session, dd.span("client"):
        print(session.get(f"http://127.0.0.1:{server.port}/orders/7", timeout=10).json())
    server.shutdown()
    thread.join()
    server.server_close()


if __name__ == "__main__":
    main()
