import io
import time

from kurve.training_progress import TrainingProgress


def test_it_shows_steps_the_newest_number_and_the_time_left() -> None:
    with TrainingProgress(stream=io.StringIO()) as progress:
        assert progress.line().startswith("loading, ")
        progress.at(10, 30)
        progress.measured({"loss": 0.5, "entropy": 1.0})
        time.sleep(0.05)
        progress.at(20, 30)
        line = progress.line()
    assert line.startswith("training: step 20/30 (67%), loss 0.500, ")
    assert line.endswith("0 s left")


def test_a_reward_is_what_rl_is_watched_by() -> None:
    with TrainingProgress(stream=io.StringIO()) as progress:
        progress.at(0, 4)
        progress.measured({"loss": 0.5, "reward": 0.25})
        progress.measured({"loss": 0.4})
        assert "reward 0.250" in progress.line()
        assert "loss" not in progress.line()


def test_time_left_counts_the_steps_of_this_start_only() -> None:
    with TrainingProgress(stream=io.StringIO()) as progress:
        progress.at(900, 1000)
        time.sleep(0.3)
        progress.at(901, 1000)  # 0.3 s a step: 99 more take half a minute, not 0.03 s
        assert 25 < float(progress.line().rsplit(", ", 1)[1].split()[0]) < 60


def test_the_last_line_stays() -> None:
    stream = io.StringIO()
    with TrainingProgress(stream=stream) as progress:
        progress.at(4, 4)
    assert "step 4/4 (100%)" in stream.getvalue().splitlines()[-1]
