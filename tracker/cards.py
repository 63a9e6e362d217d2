"""Small pages for notebooks: texts as HTML in which nothing but our own tags counts.

No colours, scripts, links or pictures: it looks as the notebook does, light or dark, and a name can make nothing of it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_LONGEST: Final = 200  # characters of a value
_MOST: Final = 20  # entries of a mapping
# What a page would not show, or show in another order than it stands: as in a terminal (cli/render.py).
_HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
# Notebooks would otherwise typeset what stands between dollars, and with it run TeX's macros.
_FRAME: Final = '<div class="tex2jax_ignore mathjax_ignore">{}</div>'


def escaped(value: Any, longest: int = _LONGEST) -> str:
    """A value as text that HTML shows as it is, in content and in attributes; cut where it is long."""
    text = value if isinstance(value, str) else _text(value)
    if len(text) > longest:
        text = f"{text[: longest - 1]}…"
    return html.escape(_HARMFUL.sub("\N{REPLACEMENT CHARACTER}", text), quote=True)


def table(columns: Iterable[str], rows: Iterable[Sequence[Any]], note: str = "") -> str:
    """Rows under their names, with a line below."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escaped(value)}</td>' for value in row)}</tr>" for row in rows)
    below = f"<p>{escaped(note)}</p>" if note else ""
    return _FRAME.format(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}")


def card(title: str, facts: Mapping[str, Any]) -> str:
    """What is known of one thing: a line a fact, of a mapping one an entry; what is empty is left out."""
    rows = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{escaped(name)}</th>'
        f'<td style="text-align:left">{_value(value)}</td></tr>'
        for name, value in facts.items()
        if value is not None and value not in ("", {}, [])
    )
    return _FRAME.format(f"<b>{escaped(title)}</b><table><tbody>{rows}</tbody></table>")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        lines = [f"{escaped(name)}: {escaped(each)}" for name, each in list(value.items())[:_MOST]]
        if len(value) > _MOST:
            lines.append(f"… and {len(value) - _MOST} more")
        return "<br>".join(lines)
    if isinstance(value, list):
        return escaped(", ".join(map(_text, value)))
    return escaped(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
