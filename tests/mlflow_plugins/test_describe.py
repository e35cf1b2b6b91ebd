from pathlib import Path

from mlflow import MlflowClient

from mlflow_plugins.kurve.describe import described, noted_verdicts, report_tags
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.tracking_samples import HOSTILE, report, run_info

PLACE = ("7", "run1")


def test_a_verdict_stands_once_before_the_notes_and_what_a_person_wrote_stays() -> None:
    note = described(run_info(), PLACE, "", 1)["mlflow.note.content"]
    assert "[Its problems and samples](kurve?experiment=7&runs=run1)" in note
    noted = report_tags(report(4, notes=("few problems",)), [], [], note)["mlflow.note.content"]
    tags = {"kurve.base_run_id": "run0", "kurve.verdict.gsm8k": "gain at k = 1", "kurve.role": "tuned"}
    told = noted_verdicts(f"mine first. {noted}", tags, PLACE)
    verdict = (
        "\n\n**Against its base:** gain at k = 1 (gsm8k). [Compare page](kurve?experiment=7&runs=run0,run1), on a "
        "server started with `--app-name kurve`."
    )
    assert told == f"mine first. {note}{verdict}\n\n**Before using the numbers:**\n\n- few problems"
    again = noted_verdicts(told, tags | {"kurve.verdict.gsm8k": "loss at k = 4"}, PLACE)
    assert again == told.replace("gain at k = 1", "loss at k = 4")
    assert report_tags(report(4, notes=("few problems",)), [], [], again)["mlflow.note.content"] == again
    assert noted_verdicts(note, {"kurve.role": "tuned"}, PLACE) == note


def test_a_run_with_a_base_leads_to_their_comparison_and_hostile_words_are_no_markup() -> None:
    tags = {"kurve.base_run_id": "ru/n&0", "kurve.verdict.a](b)": f"{HOSTILE}\n\n# gain"}
    note = described(run_info(tags=tags), PLACE, "", 1)["mlflow.note.content"]
    assert "[Compared with its base](kurve?experiment=7&runs=ru/n%260,run1)" in note
    told = noted_verdicts("", tags, PLACE)
    assert "<script>" not in told
    assert "a\\]\\(b\\)" in told
    assert len(told.strip().splitlines()) == 1


def test_an_experiment_is_described_once_and_never_over_a_persons_words(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)

    def logs(key: str, experiment: str) -> str:
        tracker = MlflowTracker(uri=uri, experiment=experiment, traces="none")
        tracker.start(run_info(key))
        tracker.log_report(report(4), [])
        return str(client.get_experiment_by_name(experiment).tags["mlflow.note.content"])

    note = logs("a", "fresh")
    number = client.get_experiment_by_name("fresh").experiment_id
    assert f"(kurve?experiment={number})" in note
    assert f"(#/experiments/{number}/runs?viewStateShareKey=kurve&compareRunsMode=CHART)" in note
    for words in ("mine", ""):
        client.set_experiment_tag(number, "mlflow.note.content", words)
        assert logs(f"b{words}", "fresh") == words
