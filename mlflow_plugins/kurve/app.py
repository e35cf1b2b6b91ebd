"""`mlflow server --app-name kurve` and `--app-name kurve-auth`: the stock server with the compare page under `/kurve`.

Protected aliases are guarded on both (`guard`). MLflow hands the same entry point to uvicorn, which needs its FastAPI
app, and to gunicorn and waitress, which need the Flask app; the launcher says which in `_MLFLOW_SGI_NAME`.
"""

import os
from typing import Any

from flask import Flask
from mlflow.server import app as stock

from mlflow_plugins.kurve.compare.routes import blueprint
from mlflow_plugins.kurve.guard import protect
from mlflow_plugins.kurve.link import offer


def create_app() -> Any:
    """The stock server and the page, open to everybody who can reach it, as the stock server is."""
    _register(stock)
    if os.environ.get("_MLFLOW_SGI_NAME") == "uvicorn":
        from mlflow.server.fastapi_app import create_fastapi_app

        return create_fastapi_app(stock)
    return stock


def create_auth_app() -> Any:
    """The same behind MLflow's basic-auth; needs `mlflow[auth]` and its environment (`docs/compare-page.md`)."""
    from mlflow.server import auth

    from mlflow_plugins.kurve.compare import access

    _register(stock)
    access.protect(auth)
    return auth.create_app(stock)


def _register(app: Flask) -> None:
    """The page, once however often the server calls the factory, the guard, and the link if it is asked for."""
    if "kurve" not in app.blueprints:
        app.register_blueprint(blueprint())
    protect(app)
    offer(app)
