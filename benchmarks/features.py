"""`make bench-features`: what each feature of ddtrace_manual costs, switched one at a time.

Each feature is a run in a process of its own, as in compare.py, and so is the default that it is compared with:
that runs again before every few features, so that a slow minute of the machine hits both. The table holds the
medians of the ratios.

    python benchmarks/features.py                     # everything
    python benchmarks/features.py statistics v0.5 --rounds 3
    python benchmarks/features.py --write             # and the table goes into the page
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runs import RESULTS, ROOT, machine, measure, progress, sink, spread, write_between_markers
from workloads import RULES, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTPUT = RESULTS / "features.json"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
ADAPTER = "ours_features"
FEATURES_PER_DEFAULT = 4
METRICS = ("app_us", "cpu_us")


@dataclass(frozen=True)
class Feature:
    """One row of the table: what differs from the default of its group.

    Attributes:
        title: What the table says.
        environ: Settings.
        function: Another workload.
        set_up: Another function that configures the library.
        delivers: Whether all spans must arrive.
        default: Another run to compare with; `None`: the default of the group.
    """

    title: str
    environ: tuple[tuple[str, str], ...] = ()
    function: str = ""
    set_up: str = ""
    delivers: bool = True
    default: Feature | None = None

    def applied_to(self, workload: Workload) -> Workload:
        """Return a workload with this feature."""
        return replace(
            workload,
            title=self.title,
            function=self.function or workload.function,
            environ={**workload.environ, **dict(self.environ)},
            delivers=self.delivers and workload.delivers,
        )


@dataclass(frozen=True)
class Group:
    """Features compared with one default workload."""

    title: str
    workload: Workload
    features: dict[str, Feature]


def setting(title: str, *, delivers: bool = True, **environ: str) -> Feature:
    """Return a feature that environment variables switch."""
    return Feature(title, environ=tuple(environ.items()), delivers=delivers)


TEN = {
    "disabled": setting("`DD_TRACE_ENABLED=false`", DD_TRACE_ENABLED="false", delivers=False),
    "resources": Feature("a resource name on every span", function="ten_span_resources"),
    "otel-api": Feature("through the OpenTelemetry API", function="ten_span_otel_api"),
    "continued": Feature("in the trace that headers name (`continue_trace`)", function="ten_span_continued"),
    "baggage": Feature("three baggage items become tags of the root", set_up="with_baggage"),
    "log-lines": Feature(
        "a log line a span, with the ids of the span, compared with the same line without",
        function="ten_span_logged",
        set_up="with_correlated_logging",
        default=Feature("a log line a span", function="ten_span_logged", set_up="with_logging"),
    ),
    "statistics": setting("statistics off", DD_TRACE_STATS_COMPUTATION_ENABLED="false"),
    "rules": setting("two sampling rules", DD_TRACE_SAMPLING_RULES=RULES, DD_TRACE_RATE_LIMIT="1000000"),
    "tenth": setting("one trace of ten kept, by a rate", DD_TRACE_SAMPLE_RATE="0.1", delivers=False),
    "single-spans": setting(
        "no trace kept, six of its ten spans by a rule",
        DD_TRACE_SAMPLE_RATE="0",
        DD_SPAN_SAMPLING_RULES='[{"name":"sql.query","sample_rate":1.0}]',
        delivers=False,
    ),
    "v0.5": setting("payloads of v0.5", DD_TRACE_API_VERSION="v0.5"),
    "v1.0": setting("payloads of v1.0", DD_TRACE_API_VERSION="v1.0"),
    "connections": setting("connections kept open", DD_TRACE_WRITER_REUSE_CONNECTIONS="true"),
    "tags": setting("three tags in `DD_TAGS`", DD_TAGS="team:shop,region:eu,tier:1"),
    "service-mapping": setting("a service mapping", DD_SERVICE_MAPPING="bench:shop"),
    "process-tags": setting("process tags off", DD_EXPERIMENTAL_PROPAGATE_PROCESS_TAGS_ENABLED="false"),
    "64-bit": setting("trace ids of 64 bits", DD_TRACE_128_BIT_TRACEID_GENERATION_ENABLED="false"),
    "otel-names": setting("OpenTelemetry names kept", DD_TRACE_OTEL_SEMANTICS_ENABLED="true"),
    "health": setting("health metrics on", DD_TRACE_HEALTH_METRICS_ENABLED="true"),
    "filter": Feature("a trace filter that keeps everything", set_up="with_trace_filter"),
    "processor": Feature("an OpenTelemetry span processor that does nothing", set_up="with_span_processor"),
    "sampler": Feature("an OpenTelemetry sampler that keeps everything", set_up="with_sampler"),
}
CHILDREN = {
    "ten-tags": Feature("ten tags", function="children_tags"),
    "service": Feature("a service of its own", function="children_service"),
    "client": Feature('`kind="client"`, so counted in statistics', function="children_client"),
    "event": Feature("an event with two attributes", function="children_event"),
    "event-text": Feature(
        "the same for an Agent without native events",
        environ=(("DD_TRACE_NATIVE_SPAN_EVENTS", "false"),),
        function="children_event",
    ),
    "link": Feature("a link to another span", function="children_link"),
    "exception": Feature(
        "an exception leaves it, compared with one handled inside",
        function="children_exception",
        default=Feature("an exception handled inside", function="children_raise"),
    ),
}
TRACED = {
    "traced-method": Feature("a method", function="traced_method"),
    "traced-async": Feature("a coroutine function", function="traced_async"),
    "traced-generator": Feature("a generator of ten steps", function="generators"),
    "traced-arguments": Feature("`capture_args=True`, two arguments", function="traced_arguments"),
}
PARTIAL = {"partial-flush": setting("partial flush off", DD_TRACE_PARTIAL_FLUSH_ENABLED="false")}
STYLES = {
    "datadog": "datadog",
    "tracecontext": "tracecontext",
    "b3": "b3",
    "datadog-tracecontext": "datadog,tracecontext",
    "all": "datadog,tracecontext,b3multi,b3,baggage",
}


def _styles(direction: str) -> dict[str, Feature]:
    """Return the rows of the header formats for a direction."""
    return {
        f"{direction}-{name}": setting(styles.replace(",", ", "), DD_TRACE_PROPAGATION_STYLE=styles)
        for name, styles in STYLES.items()
    }


GROUPS = (
    Group("a trace of ten spans, two tags each", Workload("default"), TEN),
    Group(
        "a span without tags, one of 99 children",
        Workload("default", function="children", spans_each=100, batch=100),
        CHILDREN,
    ),
    Group(
        "a decorated function that does nothing, inside a span",
        Workload("default", function="traced_nested", spans_each=100, batch=100),
        TRACED,
    ),
    Group(
        "a trace of 1,000 spans", Workload("default", function="wide", size=1000, spans_each=1000, batch=10), PARTIAL
    ),
    Group(
        "writing headers (datadog, tracecontext, baggage)",
        Workload("default", function="inject", spans_each=1, batch=2000, delivers=False),
        {**_styles("inject"), "inject-baggage": Feature("with three baggage items", set_up="with_baggage")},
    ),
    Group(
        "reading headers (datadog, tracecontext, baggage)",
        Workload("default", function="extract", spans_each=1, batch=2000, delivers=False),
        _styles("extract"),
    ),
)

Ratios = dict[str, dict[str, list[float]]]
"""Feature → metric → its ratio to the default in each round."""


def main() -> int:
    """Measure, print the table, write the JSON file."""
    args = arguments()
    if args.markdown:
        report = json.loads(OUTPUT.read_text(encoding="utf-8"))
    else:
        with sink() as url, statsd_socket() as statsd_url:
            found = measure_all(url, statsd_url, args.features or names(), args.rounds, args.seconds)
        report = {"machine": machine(), "features": with_earlier(summarise(found), machine())}
        OUTPUT.parent.mkdir(parents=True, exist_ok=True)
        OUTPUT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(markdown(report))
    if args.write:
        write_between_markers(PAGE, "features", markdown(report))
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("features", nargs="*", help=f"of: {', '.join(names())}")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each feature")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time of a run")
    parser.add_argument("--markdown", action="store_true", help="measure nothing: print the last table")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/performance.md")
    args = parser.parse_args()
    unknown = sorted(set(args.features) - set(names()))
    if unknown:
        parser.error(f"no such feature: {', '.join(unknown)}; there are {', '.join(names())}")
    return args


def names() -> list[str]:
    """Return the names of all features."""
    return [name for group in GROUPS for name in group.features]


def measure_all(url: str, statsd_url: str, wanted: list[str], rounds: int, seconds: float) -> Ratios:
    """Return the ratios of the features wanted."""
    found: Ratios = {name: {metric: [] for metric in METRICS} for name in wanted}

    def run(feature: Feature, group: Group) -> dict[str, float]:
        workload = feature.applied_to(group.workload)
        workload = replace(workload, environ={"DD_DOGSTATSD_URL": statsd_url, **workload.environ})
        return measure(url, workload, "ours", seconds, adapter=ADAPTER, set_up=feature.set_up)

    for number in range(rounds):
        for group in GROUPS:
            own = [name for name in group.features if name in wanted]
            for position, name in enumerate(own):
                progress(f"round {number + 1}/{rounds}: {name}")
                if position % FEATURES_PER_DEFAULT == 0:
                    group_default = run(Feature("default"), group)
                feature = group.features[name]
                default = group_default if feature.default is None else run(feature.default, group)
                measured = run(feature, group)
                for metric in METRICS:
                    found[name][metric].append(measured[metric] / default[metric])
    progress("")
    return found


def summarise(found: Ratios) -> dict[str, Any]:
    """Return median, range and values of every ratio."""
    return {name: {metric: spread(ratios) for metric, ratios in by_metric.items()} for name, by_metric in found.items()}


def with_earlier(features: dict[str, Any], measured_on: str) -> dict[str, Any]:
    """Add what the last report has of features not measured now, if it is of this machine."""
    if not OUTPUT.exists():
        return features
    earlier = json.loads(OUTPUT.read_text(encoding="utf-8"))
    return {**earlier["features"], **features} if earlier["machine"] == measured_on else features


def markdown(report: dict[str, Any]) -> str:
    """Return the table for the page."""
    lines = [
        f"{report['machine']}; medians of {rounds_of(report)} rounds.",
        "",
        "| compared with | | application thread | whole process |",
        "|---|---|---|---|",
    ]
    for group in GROUPS:
        own = [name for name in group.features if name in report["features"]]
        for position, name in enumerate(own):
            by_metric = report["features"][name]
            cells = [format_ratio(by_metric[metric]) for metric in METRICS]
            first = group.title if position == 0 else ""
            lines.append(f"| {first} | {group.features[name].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rounds_of(report: dict[str, Any]) -> str:
    """Return how often the features were measured, for example `4` or `4 to 7`."""
    counts = {len(ratios["runs"]) for by_metric in report["features"].values() for ratios in by_metric.values()}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def format_ratio(ratio: dict[str, float]) -> str:
    """Return a median and half its range."""
    return f"{ratio['median']:.2f} ±{(ratio['high'] - ratio['low']) / 2:.2f}"


@contextlib.contextmanager
def statsd_socket() -> Iterator[str]:
    """Have somebody who takes health metrics; yield its address. What it gets is never read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        yield f"udp://127.0.0.1:{receiver.getsockname()[1]}"


if __name__ == "__main__":
    sys.exit(main())
