import re
from pathlib import Path

import pytest
from mlflow import MlflowClient

from kurve.errors import TrackingError
from kurve.export import write_files
from mlflow_plugins.kurve.fields import metric_name
from mlflow_plugins.kurve.images import image_key
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.measured import measured
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import run_info


def images(uri: str, run_id: str) -> list[str]:
    """Names of the run's images without their random part."""
    return sorted(
        one.path.partition("+timestamp+")[0] + (".webp" if one.path.endswith("+compressed.webp") else ".png")
        for one in MlflowClient(uri).list_artifacts(run_id, "images")
    )


def test_histograms_are_images_once_and_half_of_one_is_completed(server: Server, tmp_path: Path) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="pictures", traces="none")
    tracker.start(run_info())
    result = measured([0, 3, 8])
    files = write_files(result, tmp_path / "report")
    for _ in range(2):
        tracker.log_report(result, files)
    stems = ["images/gsm8k~accuracy+step+0", "images/gsm8k~perplexity+step+0"]
    assert images(server.uri, tracker.run_id) == [f"{stem}{end}" for stem in stems for end in (".png", ".webp")]
    client = MlflowClient(server.uri)
    assert client.get_run(tracker.run_id).data.tags["mlflow.loggedImages"] == "True"
    kept = {one.path for one in client.list_artifacts(tracker.run_id, "kurve")}
    assert "kurve/accuracy.png" in kept
    assert not any(path.endswith(".image.png") for path in kept)
    folder = next((server.folder / "files").glob(f"*/{tracker.run_id}/artifacts/images"))
    next(folder.glob("gsm8k~accuracy*+compressed.webp")).unlink()  # as a kill between the two leaves it
    tracker.log_report(result, files)
    assert images(server.uri, tracker.run_id).count(f"{stems[0]}.webp") == 1


def test_without_log_probabilities_there_is_no_image_of_perplexity(server: Server, tmp_path: Path) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="pictures", traces="none")
    tracker.start(run_info("bbbb"))
    result = measured([0, 3, 8], nats=None)
    tracker.log_report(result, write_files(result, tmp_path))
    assert images(server.uri, tracker.run_id) == [f"images/gsm8k~accuracy+step+0{end}" for end in (".png", ".webp")]


def test_images_of_other_runs_are_kept_by_their_folder_and_a_file_that_is_none_is_refused(
    server: Server, tmp_path: Path
) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="pictures", traces="none")
    tracker.start(run_info("cccc"))
    files = [file for file in write_files(measured([1]), tmp_path) if file.name == "perplexity.image.png"]
    tracker.log_files(files, "perplexity")
    assert images(server.uri, tracker.run_id)[0] == "images/perplexity~perplexity+step+0.png"
    (tmp_path / "text.image.png").write_text("no picture")
    with pytest.raises(TrackingError, match="is no picture"):
        tracker.log_files([tmp_path / "text.image.png"], "perplexity")


@pytest.mark.parametrize("benchmark", ["gsm8k", "math/500", "Größe @ 1", "<script>", "../up", "a+b~c", "x" * 300])
def test_any_benchmark_gives_a_key_that_mlflow_takes(benchmark: str) -> None:
    key = image_key(metric_name(benchmark), Path("accuracy.image.png"))
    assert re.fullmatch(r"[a-zA-Z0-9_\-./ ]{1,250}", key)
    assert key.endswith("/accuracy")
