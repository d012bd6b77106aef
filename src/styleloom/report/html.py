"""Elements of a page. Text is escaped wherever it comes from: only what this file makes is markup."""

from __future__ import annotations

import html
import json
from typing import Any


class Html:
    """Markup that is ready for the page."""

    def __init__(self, markup: str) -> None:
        self.markup = markup


Child = Html | str | int | float | None
"""What may be in an element; a text is escaped, None is nothing."""

VOID = frozenset({"img", "input", "meta"})


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """An element. `class_` is the attribute class, `data_x` is data-x; None and False leave one out."""
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{html.escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in VOID else f"{opening}{join(*children).markup}</{name}>")


def join(*children: Child) -> Html:
    """Elements and texts, one after the other."""
    return Html("".join(_markup(child) for child in children))


def _markup(child: Child) -> str:
    if child is None:
        return ""
    return child.markup if isinstance(child, Html) else html.escape(str(child))


def data(document: Any) -> Html:
    """A document for the page's script: JSON without a character that could end the element."""
    text = json.dumps(document, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" class="data">{text}</script>')


def table(head: list[Child], rows: list[list[Child]], class_: str | None = None) -> Html:
    """A table whose first column names the rows. It scrolls where the screen is too narrow."""
    top = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))) if head else None
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    return tag("div", tag("table", top, tag("tbody", *body), class_=class_), class_="scroll")
