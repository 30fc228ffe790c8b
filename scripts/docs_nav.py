"""Order the documentation's sections; MkDocs calls it. Pages need no entry anywhere to appear."""

from __future__ import annotations

from typing import Any

ORDER = ("Home", "Tutorial", "How to", "Reference", "Explanation", "Glossary", "Changelog")


def on_nav(nav: Any, **_: Any) -> Any:  # Any: MkDocs' own types
    """Sort the top level of the navigation and give the sections their names."""
    for item in nav.items:
        if item.is_section:
            item.title = {"How-to": "How to", "How to": "How to"}.get(item.title, item.title.capitalize())
    nav.items.sort(key=_place)
    return nav


def _place(item: Any) -> int:  # Any: page or section
    if item.is_section:
        return ORDER.index(item.title) if item.title in ORDER else len(ORDER)
    name = "Home" if item.is_homepage else item.file.src_uri.removesuffix(".md").capitalize()
    return ORDER.index(name) if name in ORDER else len(ORDER)
