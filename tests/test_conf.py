"""Every command composes with every option, and what needs no engine is built."""

import itertools
import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from kurve.algorithms.arguments import prompts_a_generation
from kurve.cli import COMMANDS
from kurve.commands import train
from kurve.commands.build import build, plain, target
from kurve.commands.sampling_plan import decoding_of
from kurve.types import Model
from tests.composing import Point, as_running, composed, points
from tests.conftest import RunKurve

CONF = Path(__file__).resolve().parent.parent / "conf"
NO_GROUPS = ("accelerate", "hydra", "local", "__pycache__")
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in NO_GROUPS)
OF_REVIEWS = ("judge",)
OF_PROMOTING = ("gate",)
OF_TRAINING = ("algorithm", "data", "experiment", "scorer", "sweep", "training")
NOT_OF_TRAINING = ("experiment", "report", "sampler", "sampling", "scorer", "sweep")
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = [option for group, option in OPTIONS if group == "experiment"]
SWEEPS = [option for group, option in OPTIONS if group == "sweep" and option not in ("seeds", "countdown_search")]
PARTS = ("model", "teacher", "benchmark", "prompt", "sampler", "verifier", "tracker", "report", "algorithm", "data")
# Settings of Yue et al. 2025 (arXiv:2504.13837v2), section 2.3 and appendix A.
DRAWN = {"gsm8k": 128, "math500": 128, "minerva": 128, "olympiad": 128, "aime24": 1024, "amc23": 1024}
SIX_ALGORITHMS = {"ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo"}


def command_of(option: str, group: str = "experiment") -> str:
    """The command line that is the last line of the first comment of an experiment or a sweep."""
    text = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8")
    comments = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    [command] = [match[0] for line in comments if (match := re.search(rf"\bkurve [a-z]+ .*{group}=.*", line))]
    return command


def training_of(point: Point) -> dict[str, object]:
    """TRL's arguments as the algorithm gets them."""
    return {**plain(point.cfg.training), **plain(point.cfg.algorithm.args)}


def _need_launcher(group: str, option: str) -> None:
    if (group, option) == ("cluster", "ray"):
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra `ray` is not installed")


@pytest.mark.parametrize(
    ("group", "option"), [one for one in OPTIONS if one[0] not in (*OF_TRAINING, *OF_REVIEWS, *OF_PROMOTING)]
)
def test_evaluate_composes_with_every_option(group: str, option: str) -> None:
    _need_launcher(group, option)
    overrides = {"model": "local", "benchmark": "gsm8k", group: option}
    if overrides["model"] == "local":
        overrides["model.path"] = "anywhere"
    cfg = composed("evaluate", *(f"{key}={value}" for key, value in overrides.items()))
    assert OmegaConf.to_container(cfg, resolve=True)
    for name in ("model", "benchmark", "prompt", "sampler", "verifier", "tracker", "sampling", "report"):
        assert callable(target(cfg[name], name))


@pytest.mark.parametrize(
    ("group", "option"), [one for one in OPTIONS if one[0] not in (*NOT_OF_TRAINING, *OF_REVIEWS, *OF_PROMOTING)]
)
def test_train_composes_with_every_option(group: str, option: str) -> None:
    _need_launcher(group, option)
    overrides = {"algorithm": "grpo", "benchmark": "gsm8k", "model.path": "anywhere", group: option}
    if group == "model" and option != "local":
        del overrides["model.path"]
    if option in ("samples", "distill_sft"):
        overrides["data.samples"] = "anywhere"
    if option == "jsonl":
        overrides["data.path"] = "anywhere"
    cfg = composed("train", *(f"{key}={value}" for key, value in overrides.items()))
    assert OmegaConf.to_container(cfg, resolve=True)
    for name in ("model", "benchmark", "prompt", "verifier", "tracker", "algorithm", "data"):
        assert callable(target(cfg[name], name))
    assert "_target_" not in cfg.training


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "scorer"])
def test_a_scorer_is_built_without_loading_anything(option: str) -> None:
    cfg = composed("score", f"scorer={option}", "model.path=anywhere", "samples=any")
    scorer = build(cfg.scorer, "scorer", model=Model("m", "anywhere"), log=None)
    assert scorer.engine == option


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "algorithm"])
def test_an_algorithm_brings_arguments_that_its_trainer_takes_on_one_gpu_and_on_eight(option: str) -> None:
    extra = ["data.samples=x"] if option == "distill_sft" else []
    cfg = composed("train", f"algorithm={option}", *extra)
    given = {"teacher": Model("teacher", "org/teacher")} if "teacher" in cfg else {}
    algorithm = build(cfg.algorithm, "algorithm", **given)
    assert algorithm.learns_from in ("verdicts", "prompts", "demonstrations")
    for processes in (1, 8):
        algorithm.check(plain(cfg.training), processes=processes)


def test_an_algorithm_chooses_its_kind_of_training_and_the_command_line_has_the_last_word() -> None:
    assert "num_generations" in composed("train", "algorithm=grpo").training
    assert "num_train_epochs" in composed("train", "algorithm=sft").training
    on_cpu = composed("train", "algorithm=distill_sft", "training=supervised_cpu", "data=jsonl", "data.path=x")
    assert on_cpu.training.use_cpu
    assert on_cpu.data.path == "x"


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_says_what_it_is_in_its_first_line(group: str, option: str) -> None:
    lines = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    first = lines[1] if lines[0].startswith("# @package") else lines[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize(
    "option",
    [
        path.stem
        for path in sorted((CONF / "model").glob("*.yaml"))
        if "\n_target_: kurve.types.Model\n" in path.read_text()
    ],
)
def test_every_model_of_the_hub_has_an_id_and_a_revision_field(option: str) -> None:
    cfg = composed("evaluate", f"model={option}", "benchmark=gsm8k")
    model = build(cfg.model, "model")
    assert isinstance(model, Model)
    assert "/" in model.path
    assert "revision" in cfg.model


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "list"])
def test_every_command_has_a_config_and_a_module(command: str) -> None:
    assert (CONF / f"{command}.yaml").is_file()
    assert (CONF.parent / "src" / "kurve" / "commands" / f"{command}.py").is_file()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_point_of_an_experiment_composes_with_the_command_that_its_header_names(experiment: str) -> None:
    line = command_of(experiment)
    assert f"experiment={experiment}" in line.split()
    for point in points(line):
        assert point.choices["experiment"] == experiment
        assert OmegaConf.to_container(point.cfg, resolve=True)
        for part in PARTS:
            if point.cfg.get(part) is not None:
                assert callable(target(point.cfg[part], part))


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_point_of_a_sweep_composes_with_the_command_that_its_header_names_under_the_sweep_s_name(
    sweep: str,
) -> None:
    line = command_of(sweep, "sweep")
    assert f"sweep={sweep}" in line.split()
    found = points(line)
    assert len(found) > 1
    for point in found:
        assert point.choices["sweep"] == sweep
        assert point.cfg.sweep_name == sweep
        assert OmegaConf.to_container(point.cfg, resolve=True)
    [renamed, *_] = points(f"{line} sweep_name=mine")
    assert renamed.cfg.sweep_name == "mine"


@pytest.mark.parametrize("sweep", [one for one in SWEEPS if command_of(one, "sweep").startswith("kurve train")])
def test_the_jobs_of_a_sweep_of_trainings_pass_their_check_with_problems_that_need_no_download(sweep: str) -> None:
    for point in points(f"{command_of(sweep, 'sweep')} benchmark=arithmetic evaluation=[] tracker=none"):
        with as_running(point):
            train.check(point.cfg)


@pytest.mark.parametrize(
    ("line", "jobs"),
    [
        ("kurve train sweep=[table2_algorithms,seeds]", 18),
        ("kurve train experiment=countdown_rl sweep=seeds algorithm=grpo", 3),
        ("kurve evaluate experiment=fig7_distill sweep=seeds", 12),
        ("kurve evaluate sweep=seeds model=qwen2_5_7b benchmark=math500 seed=3,4", 2),
        ("kurve study experiment=countdown sweep=seeds", 3),
    ],
)
def test_seeds_are_swept_beside_anything(line: str, jobs: int) -> None:
    found = points(line)
    assert len(found) == jobs
    assert {point.cfg.seed for point in found} == ({3, 4} if "seed=" in line else {0, 1, 2})


@pytest.mark.parametrize(
    "line",
    [
        command_of("table2_algorithms"),
        command_of("table3_steps"),
        command_of("table2_algorithms", "sweep"),
        command_of("fig15", "sweep"),
    ],
)
def test_trainings_of_the_paper_have_its_settings(line: str) -> None:
    for point in points(line):
        args = training_of(point)
        assert prompts_a_generation(args, processes=8) == 128
        assert (args["max_completion_length"], args["temperature"], args["top_p"]) == (8192, 1.0, 1.0)
        assert (args["learning_rate"], args["lr_scheduler_type"]) == (1e-6, "constant")
        assert point.choices["model"] == "qwen2_5_7b"
        assert point.choices["benchmark"] == "omni_math_train"
        assert point.cfg.evaluation == ["omni_math_test", "math500"]
        assert not point.cfg.allow_overlap
        for processes in (1, 8):
            build(point.cfg.algorithm, "algorithm").check(plain(point.cfg.training), processes=processes)


def test_table_2_compares_six_algorithms_with_8_responses_150_steps_and_no_kl_term() -> None:
    found = points(command_of("table2_algorithms", "sweep"))
    assert {point.choices["algorithm"] for point in found} == SIX_ALGORITHMS
    assert len(found) == len(SIX_ALGORITHMS)
    for args in map(training_of, found):
        assert (args["num_generations"], args["max_steps"], args["beta"]) == (8, 150, 0.0)
    for group in ("experiment", "sweep"):
        alone = points(f"{command_of('table2_algorithms', group)} algorithm=rloo")
        assert [point.choices["algorithm"] for point in alone] == ["rloo"]


def test_table_3_keeps_grpo_after_150_300_and_450_steps() -> None:
    [point] = points(command_of("table3_steps"))
    args = training_of(point)
    assert point.choices["algorithm"] == "grpo"
    assert (args["num_generations"], args["max_steps"], args["beta"]) == (8, 450, 0.0)
    assert plain(point.cfg.training)["save_steps"] == 150
    assert "save_total_limit" not in args
    measured = points(command_of("table3_steps", "sweep"))
    assert {(point.cfg.model.step, point.choices["benchmark"], point.cfg.num_samples) for point in measured} == {
        (step, benchmark, 256)
        for step in (150, 300, 450)
        for benchmark in ("omni_math_train", "omni_math_test", "math500")
    }


def test_figure_15_changes_the_kl_term_and_the_responses_a_prompt_one_at_a_time() -> None:
    found = points(command_of("fig15", "sweep"))
    assert {point.choices["algorithm"] for point in found} == {"grpo"}
    changed = [(args["beta"], args["num_generations"]) for args in map(training_of, found)]
    assert changed == [(0.0, 8), (0.001, 8), (0.0, 32)]
    assert {training_of(point)["max_steps"] for point in found} == {150}
    on_cpu = points(f"{command_of('fig15', 'sweep')} training=rlvr_cpu")
    assert [(args["use_cpu"], args["beta"]) for args in map(training_of, on_cpu)] == [
        (True, 0.0), (True, 0.001), (True, 0.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("experiment", "models", "drawn", "prompt"),
    [
        (
            "fig2_math",
            {f"qwen2_5_{size}{kind}" for size in ("7b", "14b", "32b") for kind in ("", "_simplerl_zoo")},
            DRAWN,
            "qwen_boxed",
        ),
        ("fig2_math_llama", {"llama_3_1_8b", "llama_3_1_8b_simplerl_zoo"}, DRAWN | {"olympiad": 1024}, "abel"),
        (
            "fig7_distill",
            {"qwen2_5_math_7b", "qwen2_5_math_7b_instruct", "oat_zero_7b", "deepseek_r1_distill_qwen_7b"},
            {"minerva": 128},
            "chat",
        ),
        (
            "fig10_oat_dapo",
            {"qwen2_5_math_7b", "oat_zero_7b", "qwen2_5_32b", "dapo_32b"},
            {"aime24": 1024},
            "qwen_math",
        ),
        ("fig16", {"qwen2_5_7b", "qwen2_5_7b_simplerl_zoo"}, {"math500": 128}, "qwen_boxed"),
    ],
)
def test_evaluations_of_the_paper_have_its_settings(
    experiment: str, models: set[str], drawn: dict[str, int], prompt: str
) -> None:
    found = points(command_of(experiment, "sweep" if experiment in SWEEPS else "experiment"))
    pairs = [(point.choices["model"], point.choices["benchmark"], point.cfg.sampling.temperature) for point in found]
    temperatures = {0.6, 1.0, 1.2} if experiment == "fig16" else {0.6}
    assert set(pairs) == {(model, name, t) for model in models for name in drawn for t in temperatures}
    assert len(pairs) == len(set(pairs))
    for point in found:
        assert point.choices["prompt"] == prompt
        assert point.cfg.num_samples == drawn[point.choices["benchmark"]]
        assert (point.cfg.sampling.top_p, point.cfg.sampling.top_k, point.cfg.sampling.min_p) == (0.95, 0, 0.0)
        # Responses are 16,384 tokens long, or what is left of a context of 4,096 after the longest prompt.
        assert decoding_of(point.cfg).max_tokens == (3072 if point.cfg.model.context == 4096 else 16384)


@pytest.mark.slow
def test_a_sweep_s_file_alone_starts_it(kurve: RunKurve, tmp_path: Path) -> None:
    done = kurve(
        "evaluate", "sweep=fig16", "model=local", "model.path=none/at-all", "benchmark=arithmetic",
        "benchmark.limit=2", "num_samples=2", "sampler=scripted", "tracker=none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    specs = [json.loads(path.read_text())["spec"] for path in (tmp_path / "outputs" / "samples").glob("*/spec.json")]
    assert sorted(spec["temperature"] for spec in specs) == [0.6, 1.0, 1.2]


@pytest.mark.parametrize("experiment", [one for one in EXPERIMENTS if command_of(one).startswith("kurve evaluate")])
def test_what_an_experiment_evaluates_can_be_sampled_first(experiment: str) -> None:
    evaluated, drawn = (composed(command, f"experiment={experiment}") for command in ("evaluate", "sample"))
    for part in ("model", "benchmark", "prompt", "sampling", "num_samples", "seed"):
        assert drawn[part] == evaluated[part], part


def test_figure_17_evaluates_at_the_temperature_of_the_base_s_entropy_with_the_paper_s_settings() -> None:
    stages = plain(points(command_of("fig17_entropy"))[0].cfg.stages)
    found = {}
    for name, stage in stages.items():
        words = [word.replace("{base}", "somewhere") for word in stage["overrides"]]
        [found[name]] = points(" ".join(["kurve", stage["command"], *words]))
    models = [point.choices["model"] for point in found.values()]
    assert models == ["qwen2_5_7b", "qwen2_5_7b_simplerl_zoo", "qwen2_5_7b_simplerl_zoo"]
    assert [point.cfg.sampling.match_entropy for point in found.values()] == [None, None, "somewhere"]
    for point in found.values():
        assert (point.cfg.sampling.temperature, point.cfg.sampling.top_p) == (0.6, 0.95)
        assert (point.choices["benchmark"], point.choices["prompt"]) == ("math500", "qwen_boxed")
        assert point.cfg.sampling.max_tokens == 16384


def test_the_embedded_study_has_an_overlay_that_matches_entropy() -> None:
    [plain_study], [overlay] = points(command_of("countdown")), points(command_of("countdown_entropy"))
    assert set(overlay.cfg.stages) == {*plain_study.cfg.stages, "evaluate_grpo_matched"}
    assert "sampling.match_entropy={evaluate_base}" in overlay.cfg.stages.evaluate_grpo_matched.overrides
