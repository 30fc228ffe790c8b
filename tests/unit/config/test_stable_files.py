"""The host's configuration files: structure, selectors, templates, precedence and faults."""

from __future__ import annotations

import os
import sys

import pytest

from ddtrace_manual.config._stable_files import SelectorFacts, default_paths, read_stable_files

EXAMPLE = """
config_id: "1231231231231"
apm_configuration_default:
  DD_LOGS_INJECTION: true
  DD_TAGS: "tag1:value1,tag2:value2"
  DD_SOMETHING_UNKNOWN: 1
tags:
  team: checkout
rules:
  - selectors:
      - origin: environment_variables
        key: DEPLOYMENT
        operator: equals
        matches: ["blue", "green"]
    configuration:
      DD_SERVICE: "{{tags[team]}}-{{environment_variables[DEPLOYMENT]}}"
  - selectors: []
    configuration: {DD_SERVICE: second}
unknown: [1]
"""


def test_defaults_and_the_first_matching_rule_count(load):
    """Defaults hold unless the first matching rule replaces or adds values."""
    config = load({"DEPLOYMENT": "green"}, fleet=EXAMPLE)
    assert (config.service, config.tags) == ("checkout-green", {"tag1": "value1", "tag2": "value2"})
    found = config.found("service")[-1]
    assert (found.origin, found.raw, found.config_id) == ("fleet_stable_config", "checkout-green", "1231231231231")
    assert load(fleet=EXAMPLE).service == "second"
    assert config.warnings == ()


def test_the_fleet_file_wins_and_the_local_one_loses(load):
    """The fleet file beats the environment, the environment beats the local file, and all are kept."""
    fleet = "{config_id: id7, apm_configuration_default: {DD_TRACE_DEBUG: true}}"
    local = "{config_id: ignored, apm_configuration_default: {DD_TRACE_DEBUG: 1, DD_ENV: local}}"
    config = load({"DD_TRACE_DEBUG": "false"}, fleet=fleet, local=local)
    assert config.trace_debug is True
    assert [(found.value, found.origin, found.config_id) for found in config.found("trace_debug")] == [
        (False, "default", None),
        (True, "local_stable_config", None),
        (False, "env_var", None),
        (True, "fleet_stable_config", "id7"),
    ]
    assert config.origin("env") == "local_stable_config"
    assert load({"DD_TRACE_DEBUG": "false"}, fleet=fleet, code={"trace_debug": False}).trace_debug is False


def test_a_bad_value_in_a_file_falls_to_the_next_source(load):
    """An unusable value costs one warning that names the file."""
    config = load(
        {"DD_TRACE_RATE_LIMIT": "abc"},
        fleet="apm_configuration_default: {DD_TRACE_RATE_LIMIT: 1.5}",
        local="apm_configuration_default: {DD_TRACE_RATE_LIMIT: 50, DD_TRACE_SAMPLE_RATE: 1}",
    )
    assert config.trace_rate_limit == 50
    assert len(config.warnings) == 2
    assert config.warnings[0] == "DD_TRACE_RATE_LIMIT='abc' is ignored: must be an integer"
    assert "MANAGED_FILE_OVERRIDE.yaml is ignored: must be an integer" in config.warnings[1]


def test_aliases_count_in_files(load):
    """A file may use an alias; the canonical name wins beside it."""
    assert (
        load(local="apm_configuration_default: {DD_TRACE_COMPUTE_STATS: false}").trace_stats_computation_enabled
        is False
    )
    both = "apm_configuration_default: {DD_TRACE_COMPUTE_STATS: false, DD_TRACE_STATS_COMPUTATION_ENABLED: true}"
    assert load(local=both).trace_stats_computation_enabled is True


def selector(**parts):
    """Return a file whose rule applies iff the selector matches."""
    lines = [f"        {key}: {value}" for key, value in parts.items()]
    lines[0] = "      - " + lines[0].strip()
    return "\n".join(["rules:", "  - selectors:", *lines, "    configuration: {DD_SERVICE: matched}"])


SELECTORS = [
    ({"origin": "language", "operator": "equals", "matches": "[python]"}, True),
    ({"origin": "language", "operator": "equals", "matches": "[ruby, go]"}, False),
    ({"origin": "language", "operator": "prefix_matches", "matches": "[py]"}, True),
    ({"origin": "language", "operator": "suffix_matches", "matches": "[thon]"}, True),
    ({"origin": "language", "operator": "suffix_matches", "matches": "[THON]"}, False),
    ({"origin": "language", "operator": "exists"}, True),
    ({"origin": "environment_variables", "key": "A", "operator": "exists"}, True),
    ({"origin": "environment_variables", "key": "B", "operator": "exists"}, False),
    ({"origin": "environment_variables", "operator": "equals", "matches": "['A=1']"}, True),
    ({"origin": "environment_variables", "operator": "prefix_matches", "matches": "['C=']"}, False),
    ({"origin": "process_arguments", "key": "--port", "operator": "equals", "matches": "['80']"}, True),
    ({"origin": "process_arguments", "key": "--host", "operator": "exists"}, False),
    ({"origin": "process_arguments", "key": "bare", "operator": "exists"}, False),
    ({"origin": "process_arguments", "operator": "equals", "matches": "[bare]"}, True),
    ({"origin": "process_arguments", "operator": "equals", "matches": "[python]"}, True),
    ({"origin": "tags", "key": "none", "operator": "exists"}, False),
    ({"origin": "tags", "operator": "exists"}, False),
    ({"origin": "tags", "key": "''", "operator": "exists"}, False),
]


@pytest.mark.parametrize(("parts", "matches"), SELECTORS)
def test_selectors_compare_the_text_of_their_origin(load, parts, matches):
    """Each origin and operator of spec/configuration.md §4 selects what it says."""
    config = load({"A": "1"}, local=selector(**parts), argv=["bare", "--port=80"])
    assert (config.service == "matched", config.warnings) == (matches, ())


def test_tags_select_and_newer_rules_come_first(load):
    """Selectors see the file's own tags, and `apm_configuration_rules` precede `rules`."""
    text = selector(origin="tags", key="team", operator="equals", matches="[a]") + (
        "\napm_configuration_rules:\n  - configuration: {DD_SERVICE: newer}\ntags: {team: a}\n"
    )
    assert load(local=text).service == "newer"
    assert load(local=text.replace("apm_configuration_rules", "other")).service == "matched"


TEMPLATES = [
    ("{{language}}", "python"),
    ("a-{{ language }}-b", "a-python-b"),
    ("{{tags[team]}}{{tags['team']}}", "xx"),
    ('{{environment_variables["A"]}}', "1"),
    ("{{process_arguments['-Darg1']}}", "value"),
    ("{{process_arguments[-Darg1]}}", "value"),
    ("{{tags[other]}}", "UNDEFINED"),
    ("{{tags[]}}", "UNDEFINED"),
    ("{{tags}}", "UNDEFINED"),
    ("{{tags[team}}", "UNDEFINED"),
    ("{{nonsense[team]}}", "UNDEFINED"),
    ("plain }} text", "plain }} text"),
]


@pytest.mark.parametrize(("template", "value"), TEMPLATES)
def test_templates_are_filled_in_rules(load, template, value):
    """Rule values may quote language, tags, environment and arguments; what is unknown is `UNDEFINED`."""
    quoted = template.replace("'", "''")
    text = f"tags: {{team: x}}\nrules:\n  - configuration: {{DD_ENV: '{quoted}'}}\n"
    assert load({"A": "1"}, local=text, argv=["main.py", "-Darg1=value"]).env == value


def test_defaults_are_not_templates(load):
    """Only rule values are templates."""
    assert load(local="apm_configuration_default: {DD_ENV: '{{language}}'}").env == "{{language}}"


@pytest.mark.parametrize(
    "text", ["", "   \n", "# only a comment\n", "{}", "apm_configuration_default:\nrules:\ntags:\n"]
)
def test_an_empty_file_says_nothing(load, text):
    """A file without content gives no values and no warning."""
    config = load(local=text)
    assert (config.warnings, config.origin("trace_debug")) == ((), "default")


FAULTS = [
    "apm_configuration_default: [a]",
    "apm_configuration_default: {DD_ENV: [a]}",
    "apm_configuration_default: {DD_ENV: {a: b}}",
    "[a, b]",
    "text",
    "a: [",
    "a: b: c",
    "rules: {a: b}",
    "rules: [text]",
    "rules: [{selectors: [text]}]",
    "rules: [{selectors: [{origin: moon, operator: exists}]}]",
    "rules: [{selectors: [{origin: language, operator: resembles, matches: [x]}]}]",
    "rules: [{selectors: [{origin: language, operator: [x]}]}]",
    "rules: [{selectors: [{origin: language, operator: equals, matches: text}]}]",
    "rules: [{selectors: [{origin: language, operator: equals, matches: [[x]]}]}]",
    "rules: [{selectors: [{origin: tags, key: [x], operator: exists}]}]",
    "rules: [{configuration: {DD_ENV: '{{language'}}]",
    "config_id: [a]",
    "a: \x00",
    "[" * 5000,
]


@pytest.mark.parametrize("text", FAULTS)
def test_a_faulty_file_is_ignored_alone(load, text):
    """A file that is not understood costs one warning; the other file counts."""
    config = load(fleet=text, local="apm_configuration_default: {DD_ENV: good}")
    assert config.env == "good"
    assert len(config.warnings) == 1
    assert "_DD_SC_MANAGED_FILE_OVERRIDE.yaml is ignored: " in config.warnings[0]


def read(fleet, local, warnings):
    environ = {"_DD_SC_MANAGED_FILE_OVERRIDE": str(fleet), "_DD_SC_LOCAL_FILE_OVERRIDE": str(local)}
    return read_stable_files(SelectorFacts(environ, ()), warnings.append)


def test_an_unreadable_file_is_warned_about(tmp_path):
    """A path that is a directory or holds other than UTF-8 is ignored with a warning, a missing one without."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\xfa")
    warnings: list[str] = []
    read(tmp_path, binary, warnings)
    assert [str(tmp_path) in text for text in warnings] == [True, True]
    warnings.clear()
    read(tmp_path / "missing", binary / "below", warnings)
    assert warnings == []


def test_a_file_above_1_mib_is_refused(tmp_path):
    """One byte more costs a warning, and nothing of the file counts."""
    text = "apm_configuration_default: {DD_ENV: x}\n"
    fits, large = tmp_path / "fits", tmp_path / "large"
    fits.write_text(text + "#" * (1024 * 1024 - len(text)), encoding="utf-8")
    large.write_text(text + "#" * (1024 * 1024 - len(text) + 1), encoding="utf-8")
    warnings: list[str] = []
    fleet, local = read(fits, large, warnings)
    assert (fleet.values, local.values) == ({"DD_ENV": "x"}, {})
    assert warnings == [f"configuration file {large} is ignored: it is larger than 1 MiB"]


@pytest.mark.skipif(os.name == "nt", reason="files have no such owner or mode")
@pytest.mark.parametrize(("mode", "is_read"), [(0o600, True), (0o664, True), (0o606, False), (0o777, False)])
def test_a_file_that_every_user_may_write_is_refused(tmp_path, mode, is_read):
    """The mode for others decides; a symbolic link stands for its target."""
    path, link = tmp_path / "file.yaml", tmp_path / "link.yaml"
    path.write_text("apm_configuration_default: {DD_ENV: x}", encoding="utf-8")
    path.chmod(mode)
    link.symlink_to(path)
    warnings: list[str] = []
    fleet, local = read(path, link, warnings)
    assert fleet.values == local.values == ({"DD_ENV": "x"} if is_read else {})
    expected = (
        [] if is_read else [f"configuration file {each} is ignored: every user may write it" for each in (path, link)]
    )
    assert warnings == expected


@pytest.mark.skipif(os.name == "nt", reason="files have no such owner")
def test_a_file_of_another_user_is_refused(tmp_path, monkeypatch):
    """A file belongs to root or to the user of the process, or it does not count."""
    path = tmp_path / "file.yaml"
    path.write_text("apm_configuration_default: {DD_ENV: x}", encoding="utf-8")
    real_fstat, user = os.fstat, os.geteuid()

    def owned_by(uid):
        def fstat(descriptor):
            fields = list(real_fstat(descriptor))
            fields[4] = uid
            return os.stat_result(fields)

        monkeypatch.setattr(os, "fstat", fstat)
        warnings: list[str] = []
        return read(path, "", warnings)[0].values, warnings

    assert owned_by(0) == ({"DD_ENV": "x"}, [])
    assert owned_by(user) == ({"DD_ENV": "x"}, [])
    reason = "it belongs to neither root nor the user of this process"
    assert owned_by(user + 1) == ({}, [f"configuration file {path} is ignored: {reason}"])
    monkeypatch.delattr(os, "geteuid")  # as on Windows
    assert owned_by(user + 1) == ({"DD_ENV": "x"}, [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
@pytest.mark.timeout(20)
def test_a_fifo_is_not_waited_for(tmp_path, load):
    """What is no regular file costs a warning; the null device says nothing."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    warnings: list[str] = []
    read(fifo, "/dev/zero", warnings)
    assert warnings == [
        f"configuration file {path} is ignored: it is not a regular file" for path in (fifo, "/dev/zero")
    ]
    warnings.clear()
    read(os.devnull, os.devnull, warnings)
    assert warnings == []
    config = load({"DD_SPAN_SAMPLING_RULES_FILE": str(fifo)})
    assert config.warnings == (f"DD_SPAN_SAMPLING_RULES_FILE={str(fifo)!r} is ignored: it is not a regular file",)


def test_without_yaml_existing_files_cost_one_warning(tmp_path, monkeypatch):
    """Without the YAML library both files are ignored, with one warning that names the extra."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "file.yaml"
    path.write_text("apm_configuration_default: {DD_ENV: x}", encoding="utf-8")
    warnings: list[str] = []
    fleet, local = read(path, path, warnings)
    assert (fleet.values, local.values, len(warnings)) == ({}, {}, 1)
    assert "ddtrace-manual[yaml]" in warnings[0]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_every_platform_has_its_paths(platform):
    """Both files have a place on each supported platform, and none elsewhere."""
    fleet, local = default_paths(platform)
    assert fleet.endswith("application_monitoring.yaml")
    assert local.endswith("application_monitoring.yaml")
    assert fleet != local
    assert default_paths("plan9") == ("", "")


def test_no_path_means_no_file(monkeypatch):
    """Where no path is known nothing is read."""
    monkeypatch.setattr("ddtrace_manual.config._stable_files.default_paths", lambda: ("", ""))
    warnings: list[str] = []
    fleet, local = read_stable_files(SelectorFacts({}, ()), warnings.append)
    assert (fleet.values, local.values, warnings) == ({}, {}, [])
