"""A link to the compare page on every page of MLflow's own UI, if the server's environment asks for it.

MLflow's UI is one page, index.html, and has no place for a plugin. So that page is served with two tags more, a style
sheet and a script of ours; without a `</body>` to put them before it is served as it is. Nothing else is touched.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from kurve.errors import ConfigError

LINK_VARIABLE = "KURVE_UI_LINK"
STYLE, SCRIPT = "link.css", "link.js"  # of the compare page's files

_SERVE = "serve"  # MLflow's name for the view of index.html
_MARK = "kurve.link"  # in the app's extensions
_END = b"</body>"
# Relative, as MLflow's own files are: a proxy may give the server a path of its own.
_TAGS = f'<link rel="stylesheet" href="kurve/{STYLE}"><script defer src="kurve/{SCRIPT}"></script>'.encode()
_SETTINGS = {"": False, "0": False, "false": False, "1": True, "true": True}


def offer(flask_app: Flask) -> None:
    """Add the link if KURVE_UI_LINK is 1; a second call changes nothing.

    Raises:
        ConfigError: KURVE_UI_LINK is neither 0 nor 1.
    """
    given = os.environ.get(LINK_VARIABLE, "").strip()
    if given.lower() not in _SETTINGS:
        raise ConfigError(f"{LINK_VARIABLE} is {given!r}; expected 1 (a link in MLflow's pages) or 0 (none)")
    stock = flask_app.view_functions.get(_SERVE)
    if not _SETTINGS[given.lower()] or stock is None or _MARK in flask_app.extensions:
        return
    flask_app.view_functions[_SERVE] = _linked(stock, Path(flask_app.static_folder or "") / "index.html")
    flask_app.extensions[_MARK] = True


def _linked(stock: Callable[[], Any], index: Path) -> Callable[[], Any]:
    def serve() -> Any:
        # Read anew: what MLflow's view answers to a browser that has the page in its cache is not the page.
        before, end, after = index.read_bytes().rpartition(_END) if index.is_file() else (b"", b"", b"")
        if not end:
            return stock()
        response = Response(before + _TAGS + end + after, mimetype="text/html")
        response.headers["Cache-Control"] = "no-cache"
        response.add_etag()
        return response.make_conditional(request)

    return serve
