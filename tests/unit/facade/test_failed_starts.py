"""A span start that fails half way leaves no span open and nothing current."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext

import ddtrace_manual as dd
from ddtrace_manual._base.context import get_current
from ddtrace_manual._model.types import SpanOptions
from ddtrace_manual._tracing import TracerProvider

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Refused(BaseException):
    """Such as a signal handler raises; no guard against errors catches it."""


def refuse(*_, **__):
    raise Refused


class Fails:
    """Raises at the step that is named, and is harmless before."""

    def __init__(self, at):
        self.left = at

    def step(self):
        self.left -= 1
        if self.left < 0:
            raise Refused


class Text(str):
    __slots__ = ("fails",)

    def __len__(self):
        self.fails.step()
        return str.__len__(self)

    def __str__(self):
        self.fails.step()
        return str.__str__(self)

    def __hash__(self):
        self.fails.step()
        return str.__hash__(self)

    def __eq__(self, other):
        self.fails.step()
        return str.__eq__(self, other)


class Number(int):
    def __sub__(self, other):
        refuse()

    __add__ = __int__ = __index__ = __bool__ = __lt__ = __ge__ = __gt__ = __le__ = __sub__


class Pairs(dict):
    def items(self):
        self.fails.step()
        return super().items()

    def __len__(self):
        self.fails.step()
        return super().__len__()

    def __bool__(self):
        self.fails.step()
        return True


class Items(list):
    def __iter__(self):
        self.fails.step()
        for each in super().__iter__():
            self.fails.step()
            yield each


class Odd:
    """A value of a type of its own."""

    def __str__(self):
        self.fails.step()
        return "odd"


def with_fails(made, fails):
    made.fails = fails
    return made


def values_of(fails):
    """For every option a value that raises after so many steps."""
    link = Link(SpanContext(1, 2, False), with_fails(Pairs(a=1), fails))
    text = with_fails(Text("text"), fails)
    return {
        "service": text,
        "resource": text,
        "span_type": text,
        "kind": text,
        "tags": with_fails(Pairs(a=with_fails(Odd(), fails), b=with_fails(Items([1]), fails)), fails),
        "links": with_fails(Items([link]), fails),
        "measured": text,
        "new_trace": text,
        "parent": with_fails(Pairs(), fails),
        "ignore": with_fails(Items([ValueError]), fails),
        "start_time_ns": Number(5),
    }


OTEL = {
    "kind": lambda values: values["kind"],
    "attributes": lambda values: values["tags"],
    "links": lambda values: values["links"],
    "start_time": lambda values: values["start_time_ns"],
    "record_exception": lambda values: values["tags"],
    "set_status_on_exception": lambda values: values["tags"],
}


def facade_scope(option, value):
    with dd.span("refused", **{option: value}):
        pass


def facade_start(option, value):
    dd.start_span("refused", **{option: value}).end()


def facade_traced(option, value):
    dd.traced("refused", **{option: (lambda _: value) if option in ("tags", "resource") else value})(lambda: None)()


@pytest.fixture(params=["plain", "processor", "failing processor", "sampler", "limits"])
def provider(request, clean_runtime):
    """Every way in which spans are started."""
    provider = TracerProvider(
        shutdown_on_exit=False,
        sampler=ALWAYS_ON if request.param == "sampler" else None,
        span_limits=SpanLimits(max_span_attributes=3) if request.param == "limits" else None,
    )
    if "processor" in request.param:
        processor = SpanProcessor()
        if request.param == "failing processor":
            processor.on_start = refuse
        provider.add_span_processor(processor)
    clean_runtime.use_engine(provider.engine)
    return provider


def check(provider, before, start, *arguments):
    """Start a span, which may fail; return whether it did."""
    failed = False
    try:
        start(*arguments)
    except (Refused, Exception):
        failed = True
    assert provider.count_spans()[0] == 0
    assert get_current() == before
    return failed


def test_every_option_has_a_value_that_fails():
    assert values_of(Fails(0)).keys() == SpanOptions.__optional_keys__


@pytest.mark.parametrize("start", [facade_scope, facade_start, facade_traced])
@pytest.mark.parametrize("option", sorted(SpanOptions.__optional_keys__))
def test_no_failing_option_of_the_facade_leaves_a_span_open(provider, start, option):
    if start is facade_traced and option in ("parent", "start_time_ns"):
        pytest.skip("no option of @traced")
    before = get_current()
    for at in range(12):
        check(provider, before, start, option, values_of(Fails(at))[option])


@pytest.mark.parametrize("option", OTEL)
@pytest.mark.parametrize("method", ["start_span", "start_as_current_span"])
def test_no_failing_argument_of_opentelemetry_leaves_a_span_open(provider, method, option):
    tracer = provider.get_tracer("x")

    def start(value):
        with getattr(tracer, method)("refused", **{option: value}):
            pass

    before = get_current()
    results = {check(provider, before, start, OTEL[option](values_of(Fails(at)))) for at in range(12)}
    if option in ("attributes", "links"):
        assert True in results


def test_the_trace_of_a_failed_start_goes_on(fresh_setup, fake_agent):
    provider = dd.configure(service="s", agent_url=fake_agent.url)
    with dd.span("root"):
        with pytest.raises(Refused):
            dd.start_span("refused", tags=with_fails(Pairs(), Fails(0)))
        with pytest.raises(Refused):
            provider.get_tracer("x").start_span("refused", attributes=with_fails(Pairs(a=1), Fails(0)))
        assert trace.get_current_span().name == "root"
    assert dd.flush()
    assert "root" in [span["name"] for span in fake_agent.spans()]
    assert dd.counters().open_spans == 0
