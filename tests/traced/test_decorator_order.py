"""`@traced` nearest to the function, below the decorators of frameworks, and what is said where it is above them."""

from __future__ import annotations

import types

import celery
import click
import flask
import pytest
from click.testing import CliRunner

import ddtrace_manual as dd
from ddtrace_manual.exceptions import ConfigurationError

app = celery.Celery("orders", set_as_current=False)
app.conf.task_always_eager = True


def test_click_command_and_options(spans):
    @click.command()
    @click.option("--count", default=1)
    @dd.traced("count")
    def count(count):
        click.echo(str(count + 1))

    done = CliRunner().invoke(count, ["--count", "2"])
    assert done.output == "3\n", done.exception
    assert spans.one("count").status_code == 0


def test_celery_task(spans):
    @app.task
    @dd.traced("add")
    def add(a, b):
        return a + b

    assert add(1, 2) == 3
    assert add.apply(args=(1, 2)).get() == 3
    assert spans.names == ["add", "add"]


def test_flask_view(spans):
    web = flask.Flask("web")

    @web.get("/<name>")
    @dd.traced("view")
    def view(name):
        return f"hello {name}"

    assert web.test_client().get("/you").text == "hello you"
    assert spans.names == ["view"]


def click_command(function):
    return click.command()(function)


def click_group(function):
    return click.group()(function)


def celery_task(function):
    return app.task(function)


def shared_task(function):
    return celery.shared_task(function)


def made_celery_task(function):
    return app._task_from_fun(function)


def pydantic_validator(_):
    """An object of the class that pydantic's validators return; pydantic itself is not installed here."""
    module = types.ModuleType("pydantic._internal._decorators")
    return type("PydanticDescriptorProxy", (), {"__module__": module.__name__})()


@pytest.mark.parametrize(
    "decorator", [click_command, click_group, celery_task, shared_task, made_celery_task, pydantic_validator]
)
def test_above_a_framework_the_message_says_what_to_write(decorator):
    def work():
        """Do nothing."""

    work.__name__ = f"made_by_{decorator.__name__}"  # every Celery task has a name of its own
    with pytest.raises(ConfigurationError, match="write @traced nearest to the function"):
        dd.traced("work")(decorator(work))
