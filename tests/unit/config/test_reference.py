"""The reference page is generated from the rows and current."""

from __future__ import annotations

import sys

import generate_configuration_reference as generator
import pytest

from ddtrace_manual.config import SETTINGS, WITHOUT_EFFECT


def test_the_page_is_current():
    """docs/reference/configuration.md is what the generator writes now."""
    assert generator.PAGE.read_text(encoding="utf-8") == generator.render(), (
        "run python scripts/generate_configuration_reference.py"
    )


def test_every_name_is_on_the_page():
    """Every environment name and code name stands on the page."""
    page = generator.render()
    names = {name for row in SETTINGS for name in (*row.env_names, row.name, *row.code_aliases)}
    names |= set(WITHOUT_EFFECT)
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


@pytest.mark.parametrize(("old", "status"), [("", 1), (None, 1), ("current", 0)])
def test_a_stale_page_is_noticed(monkeypatch, tmp_path, old, status):
    """`--check` fails for a missing or stale page, and writing makes it current."""
    page = tmp_path / "page.md"
    monkeypatch.setattr(generator, "PAGE", page)
    if old is not None:
        page.write_text(generator.render() if old else "stale", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    assert generator.main() == status
    monkeypatch.setattr(sys, "argv", ["generate"])
    assert generator.main() == 0
    assert page.read_text(encoding="utf-8") == generator.render()
