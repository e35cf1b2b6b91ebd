import dataclasses
import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException

from kurve.errors import TrackingError
from mlflow_plugins.kurve.registry import MlflowRegistry
from mlflow_plugins.kurve.tracker import MlflowTracker
from mlflow_plugins.kurve.versions import read_decision
from tests.mlflow_plugins.registering import PLACES, SHA, TAGS, address, evaluation, trained, training, versions
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import report, run_info


@PLACES
def test_a_version_says_where_the_weights_are_what_they_come_from_and_how_they_measured(
    server: Server, tmp_path: Path, place: str
) -> None:
    uri = address(place, server, tmp_path)
    made_by, measured = training(uri, "registered"), evaluation(uri, "registered")
    registry = MlflowTracker(uri=uri).registry()
    registry.check()
    made = registry.register(trained("countdown-tuned", run_id=made_by, evaluations=[measured]))

    client = MlflowClient(uri)
    version = client.get_model_version(made.name, made.version)
    assert (made.name, made.version) == ("countdown-tuned", "1")
    assert made.url.endswith("/#/models/countdown-tuned/versions/1")
    assert version.status == "READY"
    assert version.run_id == made_by
    assert {key: version.tags[key] for key in TAGS} == TAGS
    assert version.tags["kurve.path"] == "/models/grpo-abcdef012345/model"
    assert version.tags["kurve.sha256"] == SHA
    assert version.tags["kurve.step"] == "120"
    assert version.tags["kurve.evaluations"] == measured
    assert "grpo from countdown@200 step 120" in version.description
    assert "/models/grpo-abcdef012345/model" in version.description

    model = client.get_logged_model(version.tags["kurve.logged_model"])
    assert model.model_id in version.source
    assert model.status == LoggedModelStatus.READY
    assert model.source_run_id == made_by
    assert model.params == {"path": "/models/grpo-abcdef012345/model", "sha256": SHA}
    assert model.tags["mlflow.modelVersions"] == '[{"name": "countdown-tuned", "version": "1"}]'
    numbers = {one.key: one for one in model.metrics}
    assert set(numbers) == {"gsm8k/pass_at_1", "gsm8k/pass_at_64", "gsm8k/perplexity"}
    run = client.get_run(measured)
    for key, one in numbers.items():
        assert one.value == run.data.metrics[key]
        assert (one.run_id, one.dataset_name, one.dataset_digest) == (measured, "gsm8k", "d" * 36)
    assert [given.model_id for given in run.inputs.model_inputs] == [model.model_id]
    assert [output.model_id for output in client.get_run(made_by).outputs.model_outputs] == [model.model_id]
    assert [point.step for point in client.get_metric_history(measured, "gsm8k/pass_at_1")] == [0]
    found = client.search_logged_models([run.info.experiment_id], "metrics.`gsm8k/pass_at_64` > 0.5")
    assert [one.model_id for one in found] == [model.model_id]
    measured_on = {"dataset_name": "gsm8k", "dataset_digest": "d" * 36}
    for datasets, models in (([measured_on], [model.model_id]), ([{"dataset_name": "math500"}], [])):
        found = client.search_logged_models(
            [run.info.experiment_id], "metrics.`gsm8k/pass_at_64` > 0.5", datasets=datasets
        )
        assert [one.model_id for one in found] == models


def test_the_page_of_a_version_says_what_was_gained_and_lost_against_its_base(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    verdict = {"kurve.verdict.math_500": "gain at k = 1 to 8, loss at k = 48 to 256"}
    MlflowRegistry(uri=uri).register(trained("says", evaluations=[evaluation(uri, "says")], tags=TAGS | verdict))
    version = MlflowClient(uri).get_model_version("says", "1")
    said = r"Against its base on math\_500: gain at k = 1 to 8, loss at k = 48 to 256."
    assert said in version.description
    assert version.tags.items() >= verdict.items()


def test_a_version_without_a_server_is_found_by_its_training_and_keeps_one_decision_for_each_alias(
    tmp_path: Path,
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made_by, measured = training(uri, "decided"), evaluation(uri, "decided")
    registry = MlflowRegistry(uri=uri)
    registry.register(trained("decided", run_id=made_by, evaluations=[measured]))
    [version] = registry.trained_by(made_by)
    assert (version.name, version.version, version.evaluations) == ("decided", "1", [measured])
    assert (version.path, version.sha256, version.run_id) == ("/models/grpo-abcdef012345/model", SHA, made_by)
    assert list(registry.trained_by("0" * 32)) == list(registry.trained_by("' or 1=1")) == []
    for alias, outcome in (("champion", "passed"), ("staging", "failed"), ("champion", "failed")):
        facts = {"outcome": outcome, "gate": "default", "run_id": measured, "sha256": SHA}
        registry.record_gate(version, alias, facts, f"said {outcome} <b>" + "x" * 6000)
    found = MlflowClient(uri).get_model_version("decided", "1")
    assert read_decision(found.tags, "champion")["outcome"] == "failed"
    assert read_decision(found.tags, "other") == {}
    assert found.description.count("**Gate** said failed &lt;b&gt;") == 1
    assert len(found.description) <= 5000
    registry.set_alias(version, "champion")
    assert registry.version("decided", "champion").version == "1"
    with pytest.raises(TrackingError, match="decided"):
        registry.set_alias(version, "latest")


def test_the_weights_of_a_version_are_said_to_be_elsewhere(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MlflowRegistry(uri=server.uri).register(
        trained("elsewhere", evaluations=[evaluation(server.uri, "elsewhere")])
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with pytest.raises(MlflowException, match="external"):
        mlflow.pyfunc.load_model(f"models:/{made.name}/{made.version}")


def test_the_weights_are_copied_when_asked_for_and_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "model"
    (weights / "tokenizer").mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"the weights")
    (weights / "tokenizer" / "vocab.json").write_text("{}")
    registry, client = MlflowTracker(uri=server.uri).registry(), MlflowClient(server.uri)
    model = trained("copied", path=str(weights), run_id=training(server.uri, "copied"))
    without = registry.register(model)
    assert "MLflow holds none" in client.get_model_version("copied", without.version).description
    with_copy = registry.register(dataclasses.replace(model, upload=True))
    assert with_copy == without
    version = client.get_model_version("copied", "1")
    assert "MLflow holds none" not in version.description
    assert "mlflow artifacts download" in version.description
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    place = Path(mlflow.artifacts.download_artifacts("models:/copied/1", dst_path=str(tmp_path / "got")))
    assert (place / "model.safetensors").read_bytes() == b"the weights"
    assert (place / "tokenizer" / "vocab.json").read_text() == "{}"
    (weights / "model.safetensors").unlink()  # a second upload would miss it
    assert registry.register(dataclasses.replace(model, upload=True)) == without


@PLACES
def test_the_same_model_again_is_the_same_version_with_what_was_measured_since(
    server: Server, tmp_path: Path, place: str
) -> None:
    uri = address(place, server, tmp_path)
    run_id, first = training(uri, "again"), evaluation(uri, "again", "first")
    registry = MlflowRegistry(uri=uri)
    made = [registry.register(trained("again", run_id=run_id, evaluations=[first])) for _ in range(2)]
    second = evaluation(uri, "again", "second", height=0.5)
    later = {"kurve.role": "teacher", "kurve.algorithm": "grpo"}
    made += [
        MlflowRegistry(uri=uri).register(trained("again", run_id=run_id, evaluations=[second], tags=later))
        for _ in range(2)
    ]

    assert made == [made[0]] * 4
    assert versions(uri, "again") == ["1"]
    client = MlflowClient(uri)
    version = client.get_model_version("again", "1")
    assert version.tags["kurve.evaluations"] == f"{first}, {second}"
    assert version.tags["kurve.role"] == "teacher"
    [model] = client.search_logged_models([client.get_run(first).info.experiment_id])
    assert model.tags["kurve.role"] == "teacher"
    assert sorted(one.run_id for one in model.metrics if one.key == "gsm8k/pass_at_1") == sorted([first, second])
    assert len(client.get_metric_history(first, "gsm8k/pass_at_1")) == 1
    assert len(client.get_run(first).inputs.model_inputs) == 1
    assert len(client.get_run(run_id).outputs.model_outputs) == 1


@PLACES
def test_a_version_by_its_number_or_alias_says_which_runs_measured_it(
    server: Server, tmp_path: Path, place: str
) -> None:
    uri = address(place, server, tmp_path)
    first, second = (evaluation(uri, "asked", key) for key in ("0123456789abcdef", "fedcba9876543210"))
    registry = MlflowRegistry(uri=uri)
    registry.register(trained("asked", evaluations=[first]))
    registry.register(trained("asked", evaluations=[second]))
    MlflowClient(uri).set_registered_model_alias("asked", "candidate", "1")
    assert (
        list(registry.evaluations("asked", "candidate")) == list(registry.evaluations("asked", "1")) == [first, second]
    )
    for which in ("champion", "7"):
        with pytest.raises(TrackingError, match="asked"):
            registry.evaluations("asked", which)


def test_a_number_that_was_measured_anew_is_added_to_the_model(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = MlflowTracker(uri=uri)
    tracker.start(run_info())
    tracker.log_report(report(4, scalars={"rate": 1.0}), [])
    tracker.registry().register(trained("anew", evaluations=[tracker.run_id]))
    tracker.log_report(report(4, scalars={"rate": 2.0}), [])
    tracker.registry().register(trained("anew", evaluations=[tracker.run_id]))
    version = MlflowClient(uri).get_model_version("anew", "1")
    model = MlflowClient(uri).get_logged_model(version.tags["kurve.logged_model"])
    rates = sorted((one for one in model.metrics if one.key == "gsm8k/rate"), key=lambda one: one.timestamp)
    assert [one.value for one in rates] == [1.0, 2.0]


def test_other_weights_another_place_and_another_name_are_versions_of_their_own(server: Server) -> None:
    registry, measured = MlflowRegistry(uri=server.uri), evaluation(server.uri, "others")
    made = [
        registry.register(trained("others", evaluations=[measured])),
        registry.register(trained("others", evaluations=[measured], sha256="cd" * 32)),
        registry.register(trained("others", evaluations=[measured], path="/elsewhere")),
        registry.register(trained("others-2", evaluations=[measured])),
    ]
    assert [(one.name, one.version) for one in made] == [
        ("others", "1"), ("others", "2"), ("others", "3"), ("others-2", "1")
    ]  # fmt: skip
    given = MlflowClient(server.uri).get_run(measured).inputs.model_inputs
    assert len({one.model_id for one in given}) == 4


@PLACES
def test_a_registration_that_was_cut_off_goes_on_with_the_logged_model_it_made(
    server: Server, tmp_path: Path, place: str
) -> None:
    uri = address(place, server, tmp_path)
    measured = evaluation(uri, f"cut-off-{place}")
    registry, client = MlflowRegistry(uri=uri), MlflowClient(uri)
    registry.register(trained("cut-off", evaluations=[measured]))
    client.delete_model_version("cut-off", "1")  # as if the process had ended before it made one
    made = registry.register(trained("cut-off", evaluations=[measured]))
    assert versions(uri, "cut-off") == [made.version]
    [model] = client.search_logged_models([client.get_run(measured).info.experiment_id])
    assert model.model_id == client.get_model_version("cut-off", made.version).tags["kurve.logged_model"]
    assert model.tags["mlflow.modelVersions"] == f'[{{"name": "cut-off", "version": "{made.version}"}}]'


def _register_one(uri: str, measured: str, start: Barrier, done: "multiprocessing.Queue[str]") -> None:
    registry = MlflowRegistry(uri=uri)
    registry.check()
    start.wait(120)
    done.put(registry.register(trained("at-once", evaluations=[measured])).version)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "server"])
def test_processes_that_register_one_model_at_once_make_one_version(server: Server, tmp_path: Path, place: str) -> None:
    uri = address(place, server, tmp_path)
    measured = evaluation(uri, f"at-once-{place}")
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_register_one, args=(uri, measured, start, done)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [done.get(timeout=5), done.get(timeout=5)] == versions(uri, "at-once") * 2
    client = MlflowClient(uri)
    [version] = client.search_model_versions("name = 'at-once'")
    used = {version.tags["kurve.logged_model"]} & {one.model_id for one in client.get_run(measured).inputs.model_inputs}
    assert len(used) == 1


class Overtaken(MlflowRegistry):
    """Looks for the version, and before it makes one, another process has made it."""

    def _create(self, client, name, model, runs):  # type: ignore[no-untyped-def]  # as the method it stands for
        MlflowRegistry(uri=client.tracking_uri).register(model)
        # In another experiment the logged model of the first is not found.
        run = client.create_run(client.create_experiment("overtaken-2"))
        return super()._create(client, name, model, {run.info.run_id: run})


def test_who_comes_second_takes_the_version_of_the_first_and_clears_its_own(server: Server) -> None:
    measured = evaluation(server.uri, "overtaken")
    made = Overtaken(uri=server.uri).register(trained("overtaken", evaluations=[measured]))
    assert made.version == "1"
    assert versions(server.uri, "overtaken") == ["1"]
    client = MlflowClient(server.uri)
    assert len(client.search_logged_models([client.get_run(measured).info.experiment_id])) == 1
    left = client.search_logged_models([client.get_experiment_by_name("overtaken-2").experiment_id])
    assert list(left) == []
