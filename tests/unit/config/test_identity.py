"""Service, env, version and tags, whichever setting they come from."""

from __future__ import annotations

import types

import pytest

ATTRIBUTES = "deployment.environment=test1,service.name=test2,service.version=5,foo=bar1,baz=qux1"

IDENTITY = [
    ({}, {}, ("unnamed-python-service", None, None), {}),
    ({"DD_SERVICE": "s", "DD_ENV": "e", "DD_VERSION": "v"}, {}, ("s", "e", "v"), {}),
    ({"DD_TAGS": "service:s,env:e,version:v,a:b"}, {}, ("s", "e", "v"), {"env": "e", "a": "b"}),
    (
        {"DD_TAGS": "env:tag,a:b", "DD_ENV": "own"},
        {},
        ("unnamed-python-service", "own", None),
        {"env": "own", "a": "b"},
    ),
    ({"DD_TAGS": "service:tag", "OTEL_SERVICE_NAME": "otel"}, {}, ("otel", None, None), {}),
    ({"OTEL_RESOURCE_ATTRIBUTES": ATTRIBUTES}, {}, ("test2", "test1", "5"), {"foo": "bar1", "baz": "qux1"}),
    ({"OTEL_RESOURCE_ATTRIBUTES": "Service.Name=s"}, {}, ("s", None, None), {}),
    ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "b"}, {}, ("b", None, None), {}),
    (
        {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=old,deployment.environment.name=new"},
        {},
        ("unnamed-python-service", "new", None),
        {},
    ),
    (
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=attr,deployment.environment=attr,x=y", "DD_TAGS": "service:tag"},
        {},
        ("tag", "attr", None),
        {},
    ),
    ({"DD_SERVICE": "", "DD_TAGS": "service:,env:"}, {}, ("unnamed-python-service", None, None), {"env": ""}),
    ({"DD_SERVICE": "env"}, {"service": "code", "env": None}, ("code", None, None), {}),
    ({"DD_SERVICE": "env"}, {"service": ""}, ("env", None, None), {}),
    (
        {"DD_TAGS": "a:b"},
        {"tags": {"c": 1, "d": True}},
        ("unnamed-python-service", None, None),
        {"c": "1", "d": "true"},
    ),
    ({"DD_TAGS": "a:b"}, {"add_tags": {"c": "d"}}, ("unnamed-python-service", None, None), {"a": "b", "c": "d"}),
    (
        {"OTEL_SERVICE_NAME": "otel"},
        {"resource_attributes": {"service.name": "attr", "x": "y"}, "tags": {"service": "tag"}},
        ("otel", None, None),
        {},
    ),
    ({}, {"resource_attributes": {"service.name": "attr", "x": "y"}}, ("attr", None, None), {"x": "y"}),
]


@pytest.mark.parametrize(("environ", "code", "identity", "tags"), IDENTITY)
def test_identity_comes_from_the_first_source(load, environ, code, identity, tags):
    """Service, env and version follow spec/configuration.md §6, and tags keep only what is a tag."""
    config = load(environ, code=code)
    assert ((config.service, config.env, config.version), dict(config.tags)) == (identity, tags)
    assert config.service_is_user_provided is (identity[0] != "unnamed-python-service")
    assert config.warnings == ()


def test_the_local_file_ranks_below_opentelemetry(load):
    """A local file's own setting and its tags lose against OpenTelemetry variables and against nothing else."""
    local = "apm_configuration_default: {DD_SERVICE: local, DD_TAGS: 'service:tag,env:tag,version:tag'}"
    config = load({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=attr"}, local=local)
    assert (config.service, config.env, config.version) == ("local", "attr", "tag")
    assert config.values("service") == [
        ("unnamed-python-service", "default"),
        ("tag", "calculated"),
        ("local", "local_stable_config"),
    ]


def test_values_are_listed_by_rising_precedence(load):
    """Every source of the service name is listed with its origin, the one in effect last."""
    environ = {"OTEL_SERVICE_NAME": "o", "OTEL_RESOURCE_ATTRIBUTES": "service.name=r", "DD_TAGS": "service:t"}
    assert load(environ).values("service") == [
        ("unnamed-python-service", "default"),
        ("r", "otel_env_var"),
        ("t", "calculated"),
        ("o", "otel_env_var"),
    ]


def test_ten_resource_attributes_become_tags(load):
    """At most ten attributes, service, env and version first, stand in for tags; all stay resource attributes."""
    text = ",".join(["service.name=s", *(f"k{i}=v" for i in range(12))])
    config = load({"OTEL_RESOURCE_ATTRIBUTES": text})
    assert list(config.tags) == [f"k{i}" for i in range(9)]
    assert len(config.resource_attributes) == 13
    assert len(config.warnings) == 1
    assert "k9, k10, k11" in config.warnings[0]


def test_resource_attributes_are_decoded(load):
    """Values of resource attributes are percent-decoded and reported raw."""
    config = load({"OTEL_RESOURCE_ATTRIBUTES": "a=x%2Cy"})
    assert config.resource_attributes == {"a": "x,y"}
    assert config.tags == {"a": "x,y"}
    assert config.found("tags")[-1].raw == "a=x%2Cy"


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({"AWS_LAMBDA_FUNCTION_NAME": "lambda", "K_SERVICE": "k"}, "lambda"),
        ({"K_SERVICE": "k", "FUNCTION_NAME": "f"}, "k"),
        ({"FUNCTION_NAME": "f", "WEBSITE_SITE_NAME": "w"}, "f"),
        ({"WEBSITE_SITE_NAME": "w"}, "w"),
    ],
)
def test_a_serverless_platform_names_the_service(load, environ, service):
    """Names of serverless platforms stand in for a service the user did not name."""
    config = load(environ)
    assert (config.service, config.origin("service")) == (service, "calculated")
    assert not config.service_is_user_provided
    assert load({**environ, "DD_SERVICE": "own"}).service == "own"


@pytest.mark.parametrize(
    ("attributes", "service", "user"),
    [
        ({"service.name": "real"}, "real", True),
        ({"service.name": "unknown_service"}, "unnamed-python-service", False),
        ({"service.name": "unknown_service:python"}, "unnamed-python-service", False),
        ({"service.name": ""}, "unnamed-python-service", False),
        ({}, "unnamed-python-service", False),
    ],
)
def test_a_resource_in_code_names_the_service(load, attributes, service, user):
    """A real service name of the resource counts when the user named no service."""
    resource = types.SimpleNamespace(attributes=attributes)
    config = load(code={"resource": resource})
    assert (config.service, config.service_is_user_provided) == (service, user)
    assert load({"DD_SERVICE": "own"}, code={"resource": resource}).service == "own"


GIT = [
    ({"DD_GIT_REPOSITORY_URL": "https://t:x@gitlab.com/a/b.git"}, "https://gitlab.com/a/b.git", ""),
    ({"DD_GIT_REPOSITORY_URL": "ssh://token@gitlab.com/a/b.git"}, "ssh://gitlab.com/a/b.git", ""),
    ({"DD_GIT_REPOSITORY_URL": "git@github.com:user/p.git"}, "git@github.com:user/p.git", ""),
    ({"DD_GIT_REPOSITORY_URL": "gitlab.com/a/b.git"}, "gitlab.com/a/b.git", ""),
    ({"DD_TAGS": "git.repository_url:https://x@h/r,git.commit.sha:abc,python_main_package:nope"}, "https://h/r", "abc"),
    ({"DD_TAGS": "git.commit.sha:tag", "DD_GIT_COMMIT_SHA": "own"}, "", "own"),
    ({"DD_GIT_COMMIT_SHA": "own", "DD_TRACE_GIT_METADATA_ENABLED": "false"}, "", ""),
    ({"DD_MAIN_PACKAGE": "no-such-distribution"}, "", ""),
]


@pytest.mark.parametrize(("environ", "url", "commit"), GIT)
def test_source_code_metadata(load, environ, url, commit):
    """Repository and commit come from variables, then tags; credentials are removed, and no tag is left."""
    config = load(environ)
    assert (config.git_repository_url, config.git_commit_sha) == (url, commit)
    assert config.tags == {}


def test_the_main_package_fills_what_is_missing(load, tmp_path, monkeypatch):
    """A distribution's `source_code_link` gives repository and commit that nothing else gives."""
    info = tmp_path / "demo_pkg-1.0.dist-info"
    info.mkdir()
    metadata = "Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\nProject-URL: Docs, https://d\n"
    (info / "METADATA").write_text(metadata + "Project-URL: source_code_link, https://h/r#abc\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = load({"DD_MAIN_PACKAGE": "demo-pkg"})
    assert (config.main_package, config.git_repository_url, config.git_commit_sha) == ("demo-pkg", "https://h/r", "abc")
    config = load({"DD_MAIN_PACKAGE": "demo-pkg", "DD_GIT_COMMIT_SHA": "own"})
    assert (config.git_repository_url, config.git_commit_sha) == ("https://h/r", "own")
    assert load({"DD_MAIN_PACKAGE": "demo-pkg", "DD_TRACE_GIT_METADATA_ENABLED": "0"}).git_commit_sha == ""


def test_a_package_without_source_link_fills_nothing(load, tmp_path, monkeypatch):
    """A distribution that names no source code link leaves the metadata empty."""
    info = tmp_path / "bare_pkg-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bare-pkg\nVersion: 1.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load({"DD_MAIN_PACKAGE": "bare-pkg"}).git_repository_url == ""


def test_the_host_name_is_resolved_only_when_reported(load, monkeypatch):
    """The host name is the configured one, else the system's, and `None` unless it is reported."""
    monkeypatch.setattr("socket.gethostname", lambda: "system")
    assert load({"DD_HOSTNAME": "own"}).hostname is None
    assert load({"DD_TRACE_REPORT_HOSTNAME": "1"}).hostname == "system"
    assert load({"DD_TRACE_REPORT_HOSTNAME": "1", "DD_HOSTNAME": "own"}).hostname == "own"


def test_a_system_without_host_name_is_no_error(load, monkeypatch):
    """A failing look-up of the host name leaves it out."""

    def fail():
        raise OSError

    monkeypatch.setattr("socket.gethostname", fail)
    assert load({"DD_TRACE_REPORT_HOSTNAME": "1"}).hostname is None
