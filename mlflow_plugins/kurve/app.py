"""`mlflow server --app-name kurve`: the stock server, its protected aliases guarded."""

import os
from typing import Any

from mlflow.server import app as flask_app

from mlflow_plugins.kurve.guard import protect


def create_app() -> Any:
    """The server's app, as the server that runs it wants it: FastAPI for uvicorn, Flask for the others."""
    protect(flask_app)
    if os.environ.get("_MLFLOW_SGI_NAME") == "uvicorn":
        from mlflow.server.fastapi_app import create_fastapi_app

        return create_fastapi_app(flask_app)
    return flask_app
