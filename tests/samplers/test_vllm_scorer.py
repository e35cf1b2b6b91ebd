from pathlib import Path

import pytest

from kurve.errors import ConfigError
from kurve.samplers.transformers_scorer import TransformersScorer
from kurve.samplers.vllm_scorer import VllmScorer
from kurve.types import Model, Prompt, ScoreRequest
from tests.samplers.tiny import make_tiny_model


@pytest.mark.slow
def test_vllm_scores_as_transformers_does(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "tiny")
    model = Model("tiny", str(folder), dtype="float32", context=512)
    plain = TransformersScorer(model=model)
    prompt = tuple(plain.tokens.encode(Prompt("a", text="What is 2 + 3 ?")))
    requests = [ScoreRequest("a", index, prompt, tuple(range(5, 5 + 40 * index))) for index in range(5)]
    requests.append(ScoreRequest("b", 0, (0,), (*range(5, 5 + 255), *range(5, 5 + 255))))
    scorer = VllmScorer(model=model, cpu_kvcache_gb=1)
    assert scorer.longest == 511
    found = {(s.problem_id, s.index): s for s in scorer.score(requests)}
    for expected in plain.score(requests):
        score = found[expected.problem_id, expected.index]
        assert score.num_tokens == expected.num_tokens
        assert score.logprob_sum == pytest.approx(expected.logprob_sum, abs=1e-2)


def test_a_wrong_setting_is_named_as_the_scorers() -> None:
    with pytest.raises(ConfigError, match=r"scorer\.engine_args\.max_num_seqs is decided by scorer\.max_num_seqs"):
        VllmScorer(model=Model("m", "o/m"), engine_args={"max_num_seqs": 1})
    with pytest.raises(ConfigError, match=r"scorer\.tensor_parallel_size=0"):
        VllmScorer(model=Model("m", "o/m"), tensor_parallel_size=0)
