"""The sheet as one page: it needs no server and no network, and what a model wrote is only ever shown as text."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

from kurve.review.files import Shown, cells
from kurve.review.rows import Row, sheet_id


def sheet_page(rows: Sequence[Row], shown: Shown, *, title: str) -> bytes:
    """The page for these rows.

    The page's own script and style are named by digest in its Content-Security-Policy, so that nothing else runs.

    Args:
        rows: in the order in which they are shown.
        shown: what it says beside the texts.
        title: of the page.
    """
    parts = {name: (files("kurve.review") / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    document = {
        "id": sheet_id(rows),
        "title": title,
        "rows": [{name: value for name, value in cells(row, shown).items() if value is not None} for row in rows],
    }
    replaced = {
        "@STYLE_HASH@": _digest(parts["css"]),
        "@SCRIPT_HASH@": _digest(parts["js"]),
        "@STYLE@": parts["css"],
        "@SCRIPT@": parts["js"],
        "@DATA@": _inert(document),  # last: what it holds is looked at by no later replacement
    }
    page = (files("kurve.review") / "page.html").read_text(encoding="utf-8")
    for mark, text in replaced.items():
        page = page.replace(mark, text)
    return page.encode()


def _inert(document: Mapping[str, object]) -> str:
    """JSON, pure ASCII, that cannot end or begin a tag: `<`, `>` and `&` are written as escapes."""
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
