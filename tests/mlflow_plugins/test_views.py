import base64
import json
import zlib

import pytest
from mlflow import MlflowClient

from mlflow_plugins.kurve.views import MAX_VIEW_TAG, VIEW_TAG, Charts, add_benchmark, read_view, save_view, write_view
from tests.mlflow_plugins.servers import Server


def test_views_of_other_people_stay_and_a_deleted_chart_does_not_come_back(server: Server) -> None:
    client = MlflowClient(server.uri)
    number = client.create_experiment("views")
    client.set_experiment_tag(number, "mlflow.sharedViewState.theirs", "their view")
    assert save_view(client, number, Charts("gsm8k", ["gsm8k/pass_at_1"]))
    state = read_view(client.get_experiment(number).tags[VIEW_TAG])
    state["compareRunCharts"][0]["deleted"] = True
    client.set_experiment_tag(number, VIEW_TAG, write_view(state))
    assert save_view(client, number, Charts("gsm8k", ["gsm8k/pass_at_1", "gsm8k/pass_at_256"], ["gsm8k/accuracy"]))
    assert save_view(client, number, Charts("math500", ["math500/pass_at_1"]))
    tags = client.get_experiment(number).tags
    charts = read_view(tags[VIEW_TAG])["compareRunCharts"]
    assert tags["mlflow.sharedViewState.theirs"] == "their view"
    assert charts[0]["deleted"]
    keys = [chart["metricKey"] for chart in charts]
    assert sorted(set(keys)) == sorted(
        ["gsm8k/accuracy"]
        + [f"gsm8k/pass_at_{name}" for name in ("1", "256", "k", "k_low", "k_high")]
        + [f"math500/pass_at_{name}" for name in ("1", "k", "k_low", "k_high")]
    )
    assert len([chart for chart in charts if chart["metricKey"] == "gsm8k/pass_at_k"]) == 2


def test_a_later_image_joins_the_card_of_the_first_unless_that_was_deleted() -> None:
    state = read_view(None)
    bars = ["gsm8k/pass_at_1"]
    assert add_benchmark(state, Charts("gsm8k", bars, ["gsm8k/accuracy"]))
    assert add_benchmark(state, Charts("gsm8k", bars, ["gsm8k/accuracy", "gsm8k/perplexity"]))
    assert not add_benchmark(state, Charts("gsm8k", bars, ["gsm8k/accuracy"]))
    [card] = [chart for chart in state["compareRunCharts"] if chart["type"] == "IMAGE"]
    assert card["imageKeys"] == ["gsm8k/accuracy", "gsm8k/perplexity"]
    assert [one["name"] for one in state["compareRunSections"]] == ["gsm8k: pass@k", "gsm8k: histograms"]
    card["deleted"] = True
    add_benchmark(state, Charts("gsm8k", bars, ["gsm8k/accuracy", "gsm8k/other"]))
    assert [chart["deleted"] for chart in state["compareRunCharts"] if chart["type"] == "IMAGE"] == [True]


@pytest.mark.parametrize("value", [None, "", "{", "[]", '{"state": 5}', '{"state": "deflate;!!"}', '{"state": "{}"}'])
def test_a_view_that_cannot_be_read_is_made_anew(value: str | None) -> None:
    assert read_view(value)["compareRunCharts"] == []


def test_a_state_that_grows_without_end_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(b" " * 50_000_000)).decode()
    assert read_view(json.dumps({"state": "deflate;" + bomb}))["compareRunCharts"] == []


def test_the_tag_has_room_for_the_benchmarks_of_a_study() -> None:
    state = read_view(None)
    for number in range(40):
        name = f"benchmark_{number}"
        bars = [f"{name}/{key}" for key in ("delta_se", "pass_at_1", "pass_at_256")]
        assert add_benchmark(state, Charts(name, bars, [f"{name}/accuracy", f"{name}/perplexity"]))
    assert len(write_view(state)) < MAX_VIEW_TAG
