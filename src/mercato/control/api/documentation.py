"""The table of routes as a page for people, which needs no script and no other server."""

import html
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, get_args, get_origin

import msgspec

from mercato.control.api.openapi import group_of, groups, is_struct, shown
from mercato.control.api.route import Route

_PLACE: Final = re.compile(r"\b(?:typing|msgspec|mercato)\.(?:\w+\.)*")

PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mercato API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
code {{ font: 0.9em ui-monospace, monospace; }}
nav a {{ margin-right: .8rem; }}
details {{ border-top: 1px solid #8884; padding: .4rem 0; }}
summary {{ cursor: pointer; }} summary b {{ display: inline-block; width: 5rem; }}
small {{ opacity: .7; }} table {{ border-collapse: collapse; margin: .5rem 0 .5rem 5rem; }}
th {{ text-align: left; }} td, th {{ padding: .1rem 1rem .1rem 0; vertical-align: top; }}
</style></head><body>
<h1>Mercato API</h1>
<p>Send a key as <code>Authorization: Bearer KEY</code>. Paths may end with a slash or not.
Arguments travel in the query of a GET and in the JSON body of the others; both are read everywhere.
Money is in dollars, times are seconds since the epoch. Every error is
<code>{{"success": false, "error": CODE, "msg": TEXT}}</code>. A change may carry an
<code>Idempotency-Key</code>: repeated, it is made once. Whoever asks too often gets a 429 with
<code>Retry-After</code>. Beside each route stands the permission that a key needs for it.
The same as data: <a href="/openapi.json">OpenAPI 3.1</a>.</p>
<nav>{contents}</nav>
{sections}
</body></html>
"""


def page(routes: Sequence[Route]) -> str:
    """The API for people."""
    by_group: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        by_group[group_of(route)].append(route)
    about = groups(routes)
    contents = "".join(f'<a href="#{name}">{_title(name)}</a>' for name in by_group)
    sections = [
        f'<h2 id="{name}">{_title(name)}</h2>\n<p>{html.escape(about[name])}</p>\n'
        + "".join(map(_section, some))
        for name, some in by_group.items()
    ]
    return PAGE.format(contents=contents, sections="\n".join(sections))


def _title(group: str) -> str:
    return html.escape(group.replace("_", " ").capitalize())


def _section(route: Route) -> str:
    return (
        f"<details><summary><b>{route.method}</b> <code>{html.escape(shown(route.path))}</code>"
        f" {html.escape(route.summary)} <small>({route.permission.value})</small></summary>"
        f"{_table('Argument', _fields(route.takes))}{_table('Answer', _fields(route.gives))}"
        "</details>\n"
    )


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    told = "".join(
        f"<tr><td><code>{html.escape(name)}</code></td><td><small>{html.escape(kind)}</small></td>"
        f"<td><small>{html.escape(note)}</small></td></tr>"
        for name, kind, note in rows
    )
    return f"<table><tr><th>{title}</th><th>Type</th><th></th></tr>{told}</table>"


def _fields(kind: Any) -> list[tuple[str, str, str]]:
    """Name, type and default of every field of a struct, or of the structs in a list."""
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    if not is_struct(kind):
        return []
    return [
        (field.encode_name, _kind(field.type), _note(field))
        for field in msgspec.structs.fields(kind)
    ]


def _note(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    plain = isinstance(field.default, bool | int | float | str) and field.default != ""
    return f"default {field.default}" if plain else ""


def _kind(kind: Any) -> str:
    if isinstance(kind, type) and not get_args(kind):
        return kind.__name__
    text = _PLACE.sub("", str(kind))
    return text.replace("NoneType", "null").replace("None", "null")
