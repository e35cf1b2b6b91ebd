import base64
import json
import zlib

import pytest
from mlflow import MlflowClient

from mlflow_plugins.kurve.views import MAX_VIEW_TAG, VIEW_TAG, add_benchmark, read_view, save_view, write_view
from tests.mlflow_plugins.servers import Server


def test_views_of_other_people_stay_and_a_deleted_chart_does_not_come_back(server: Server) -> None:
    client = MlflowClient(server.uri)
    number = client.create_experiment("views")
    client.set_experiment_tag(number, "mlflow.sharedViewState.theirs", "their view")
    assert save_view(client, number, "gsm8k", ["gsm8k/pass_at_1"])
    state = read_view(client.get_experiment(number).tags[VIEW_TAG])
    state["compareRunCharts"][0]["deleted"] = True
    client.set_experiment_tag(number, VIEW_TAG, write_view(state))
    assert save_view(client, number, "gsm8k", ["gsm8k/pass_at_1", "gsm8k/pass_at_256"])
    assert save_view(client, number, "math500", ["math500/pass_at_1"])
    tags = client.get_experiment(number).tags
    charts = read_view(tags[VIEW_TAG])["compareRunCharts"]
    assert tags["mlflow.sharedViewState.theirs"] == "their view"
    assert charts[0]["deleted"]
    keys = [chart["metricKey"] for chart in charts]
    assert sorted(set(keys)) == sorted(
        [f"gsm8k/pass_at_{name}" for name in ("1", "256", "k", "k_low", "k_high")]
        + [f"math500/pass_at_{name}" for name in ("1", "k", "k_low", "k_high")]
    )
    assert len([chart for chart in charts if chart["metricKey"] == "gsm8k/pass_at_k"]) == 2


@pytest.mark.parametrize("value", [None, "", "{", "[]", '{"state": 5}', '{"state": "deflate;!!"}', '{"state": "{}"}'])
def test_a_view_that_cannot_be_read_is_made_anew(value: str | None) -> None:
    assert read_view(value)["compareRunCharts"] == []


def test_a_state_that_grows_without_end_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(b" " * 50_000_000)).decode()
    assert read_view(json.dumps({"state": "deflate;" + bomb}))["compareRunCharts"] == []


def test_the_tag_has_room_for_the_benchmarks_of_a_study() -> None:
    state = read_view(None)
    for number in range(40):
        assert add_benchmark(state, f"benchmark_{number}", [f"benchmark_{number}/pass_at_1"])
    assert len(write_view(state)) < MAX_VIEW_TAG
