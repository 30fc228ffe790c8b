"""Settings: sampling, propagation and ids, span content.

Source: spec/configuration.md §8.4-§8.6, spec/propagation.md §2, spec/sampling.md §6, §8, §14.
"""

from __future__ import annotations

from typing import Final

from ._kinds import (
    BOOL,
    ERROR_STATUSES,
    LIST,
    LIST_OR_EMPTY,
    MAP,
    PATH,
    REGEXP,
    SPAN_RULES,
    STYLES,
    STYLES_OF_DIRECTION,
    TRACE_RULES,
    choice,
    integer,
    number,
)
from ._parsers import DEFAULT_STYLES
from ._row import Setting

__all__ = ["PROPAGATION", "SAMPLING", "SPANS"]

_DEFAULT_REDACTION: Final = (
    r"(?i)(?<![^&;=?\s])(?=[^&;=\s]*=)[^&;=?\s]*"  # tried once for each parameter: queries come from strangers
    r"(?:pass(?:wd|word|phrase)?|pwd|secret|token|credential|api_?-?key|access_?-?key|private_?-?key|"
    r"signature|auth(?:entication|orization)?|session_?-?id|jwt)"
    r"[^&;=\s]*=[^&;\s]*"
    r"|bearer(?:\s|%20|\+)+[a-z0-9._~+/-]+=*"
    r"|(?<![a-z0-9_-])eyj[a-z0-9_-]{8,}\.[a-z0-9_-]+(?:\.[a-z0-9_-]+)?"
    r"|\bgh[opsu]_[a-z0-9]{30,}"
    r"|\bakia[a-z0-9]{16}\b"
)

SAMPLING: tuple[Setting, ...] = (
    Setting(
        "DD_TRACE_SAMPLE_RATE",
        number(0, 1),
        None,
        "Fraction of traces to keep, as a catch-all rule after `DD_TRACE_SAMPLING_RULES`; unset, the Agent's rates"
        " apply. Also from `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.",
        code_aliases=("sample_rate",),
    ),
    Setting(
        "DD_TRACE_SAMPLING_RULES",
        TRACE_RULES,
        (),
        "Rules with `sample_rate` and optionally `service`, `name`, `resource` and `tags`; the first match decides."
        " In code: dictionaries or rule objects.",
        code_aliases=("sampling_rules",),
    ),
    Setting(
        "DD_TRACE_RATE_LIMIT",
        integer(),
        100,
        "Most traces kept by rules, per second; negative means unlimited. Without rules or rate it has no effect.",
        code_aliases=("rate_limit",),
    ),
    Setting(
        "DD_SPAN_SAMPLING_RULES",
        SPAN_RULES,
        (),
        "Rules that keep single spans of dropped traces: `service`, `name`, `sample_rate`, `max_per_second`.",
    ),
    Setting(
        "DD_SPAN_SAMPLING_RULES_FILE",
        PATH,
        None,
        "Regular file of at most 1 MiB with the same content; the variable above wins.",
    ),
)

PROPAGATION: tuple[Setting, ...] = (
    Setting(
        "DD_TRACE_PROPAGATION_STYLE",
        STYLES,
        DEFAULT_STYLES,
        "Header formats read and written, in order: `datadog`, `tracecontext`, `b3multi`, `b3`, `baggage`, or `none`."
        " Also from `OTEL_PROPAGATORS`.",
        code_aliases=("propagation_style",),
    ),
    Setting(
        "DD_TRACE_PROPAGATION_STYLE_EXTRACT",
        STYLES_OF_DIRECTION,
        DEFAULT_STYLES,
        "The same for reading only; an empty text switches reading off.",
        code_aliases=("propagation_style_extract",),
        default_text="`DD_TRACE_PROPAGATION_STYLE`",
    ),
    Setting(
        "DD_TRACE_PROPAGATION_STYLE_INJECT",
        STYLES_OF_DIRECTION,
        DEFAULT_STYLES,
        "The same for writing only; an empty text switches writing off.",
        code_aliases=("propagation_style_inject",),
        default_text="`DD_TRACE_PROPAGATION_STYLE`",
    ),
    Setting("DD_TRACE_PROPAGATION_EXTRACT_FIRST", BOOL, False, "Stop reading at the first style that gives a context."),
    Setting(
        "DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT",
        choice("continue", "restart", "ignore"),
        "continue",
        "What an incoming context does: continue its trace, start a new one linked to it, or nothing.",
    ),
    Setting("DD_TRACE_PROPAGATION_HTTP_BAGGAGE_ENABLED", BOOL, False, "Also read and write `ot-baggage-*` headers."),
    Setting(
        "DD_TRACE_X_DATADOG_TAGS_MAX_LENGTH",
        integer(0, 512, clamp=True),
        512,
        "Longest value of `x-datadog-tags`; 0: neither read nor written.",
    ),
    Setting("DD_TRACE_BAGGAGE_MAX_ITEMS", integer(0), 64, "Most baggage items written."),
    Setting("DD_TRACE_BAGGAGE_MAX_BYTES", integer(0, unit="bytes"), 8192, "Longest `baggage` header written."),
    Setting(
        "DD_TRACE_BAGGAGE_TAG_KEYS",
        LIST_OR_EMPTY,
        ("user.id", "session.id", "account.id"),
        "Baggage keys copied to span tags; `*` means all, an empty text none.",
    ),
    Setting(
        "DD_TRACE_128_BIT_TRACEID_GENERATION_ENABLED", BOOL, True, "`false`: new trace ids have 64 bits. Deprecated."
    ),
    Setting(
        "DD_TRACE_ORG_GUARD_ENABLED", BOOL, False, "Distrust sampling and tags that come from another organisation."
    ),
    Setting("DD_TRACE_ORG_GUARD_STRICT", BOOL, False, "Also distrust contexts that do not name their organisation."),
    Setting("DD_TRACE_ORG_GUARD_TRUSTED_OPMS", LIST, (), "Markers of organisations that are trusted."),
)

SPANS: tuple[Setting, ...] = (
    Setting(
        "DD_TRACE_HEADER_TAGS",
        MAP,
        {},
        "HTTP header → tag; an empty tag means `http.request.headers.<name>` or `http.response.headers.<name>`.",
    ),
    Setting(
        "DD_TRACE_HTTP_SERVER_ERROR_STATUSES",
        ERROR_STATUSES,
        ((500, 599),),
        "Status codes that mark a server span as failed: `a-b,c`.",
        default_text="`500-599`",
    ),
    Setting(
        "DD_TRACE_HTTP_CLIENT_ERROR_STATUSES",
        ERROR_STATUSES,
        ((400, 499),),
        "Status codes that mark a client span as failed.",
        default_text="`400-499`",
    ),
    Setting("DD_TRACE_HTTP_CLIENT_TAG_QUERY_STRING", BOOL, True, "Keep the query in `http.url` of client spans."),
    Setting("DD_HTTP_SERVER_TAG_QUERY_STRING", BOOL, True, "Keep the query in `http.url` of server spans."),
    Setting(
        "DD_TRACE_OBFUSCATION_QUERY_STRING_REGEXP",
        REGEXP,
        _DEFAULT_REDACTION,
        "What matches in a query becomes `<redacted>`. Empty: nothing is redacted. Not a regular expression: queries"
        " are not recorded. The default takes about a millisecond at worst; one of your own is matched by Python's `re`"
        " without a limit of time, on at most 2,048 characters, so avoid nested repeats.",
        default_text="matches what looks like credentials",
    ),
    Setting(
        "DD_TRACE_PEER_SERVICE_DEFAULTS_ENABLED", BOOL, False, "Derive `peer.service` of client and producer spans."
    ),
    Setting("DD_TRACE_PEER_SERVICE_MAPPING", MAP, {}, "Replaces values of `peer.service`."),
)
