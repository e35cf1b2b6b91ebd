"""Versions of a model on a server that guards its champion, each with an evaluation of it and of its base."""

from pathlib import Path

from mlflow import MlflowClient

from kurve.tracking import ModelInfo
from kurve.types import Tally
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.gating import BASE, BETTER, NARROWER, report_files
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import run_info

GOOD, BAD, ALSO_GOOD, UNJUDGED = 1, 2, 3, 4  # versions of the model m


class Place:
    """A guarded server with versions of one model, each with an evaluation of it and of its base."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.uri, self.folder = server, server.uri, folder
        self.client = MlflowClient(server.uri)
        self.base = self.evaluation("base", BASE)
        models = {GOOD: BETTER, BAD: NARROWER, ALSO_GOOD: BETTER, UNJUDGED: BETTER}
        self.runs = {number: self.version(f"model{number}", counts) for number, counts in models.items()}

    def evaluation(self, model: str, counts: Tally, **tags: str) -> str:
        tracker = MlflowTracker(uri=self.uri, experiment="evaluations", saved_view=False)
        tracker.start(run_info(f"evaluation-{model}", tags=tags))
        tracker.log_files(report_files(self.folder / model, counts, model=model), "")
        tracker.finish("FINISHED")
        return tracker.run_id

    def version(self, model: str, counts: Tally) -> str:
        run = self.evaluation(model, counts, **{"kurve.base_run_id": self.base})
        registry = MlflowTracker(uri=self.uri).registry()
        registry.register(ModelInfo("m", f"/models/{model}", f"{int(model[-1]):064}", 1, "", [run], {}))
        return run

    def files(self, run: str) -> Path:
        [folder] = (self.server.folder / "files").glob(f"*/{run}/artifacts/kurve")
        return folder

    @property
    def champion(self) -> str:
        return str(self.client.get_registered_model("m").aliases.get("champion", ""))
