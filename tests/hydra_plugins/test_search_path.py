"""kurve's groups in other programs, and a user's own folders in kurve."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl

from hydra_plugins.kurve.search_path import KurveSearchPath
from kurve.commands.own_configs import own_folders
from kurve.errors import ConfigError
from tests.conftest import RunKurve, command_environment
from tests.here import run_here

REPOSITORY = Path(__file__).resolve().parents[2]
OWN = "# One sum of mine.\n_target_: kurve.benchmarks.arithmetic.load\nname: mine\nlimit: 2\nnum_samples: 2\n"
SCRIPTED = ("model=local", "model.path=unused/model", "sampler=scripted", "tracker=dir", "num_samples=2")


def blocks(page: str) -> dict[str, str]:
    """The files that a page of docs/ shows: a block of code under its name."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"`([\w./]+\.\w+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of configs with one benchmark, and one that has the name of one of kurve's."""
    folder = tmp_path / "own" / "benchmark"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(OWN)
    (folder / "arithmetic.yaml").write_text(OWN.replace("name: mine", "name: usurper"))
    return folder.parent


def paths(search: ConfigSearchPathImpl) -> list[tuple[str | None, str | None]]:
    return [(element.provider, element.path) for element in search.get_path()]


def test_our_groups_come_after_a_program_s_own_and_once(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURVE_CONF", str(own))
    search = ConfigSearchPathImpl()
    search.append("main", "pkg://app.conf")
    for _ in range(2):
        KurveSearchPath().manipulate_search_path(search)
    assert paths(search) == [("main", "pkg://app.conf"), ("kurve", own.as_uri()), ("kurve", "pkg://kurve.conf")]
    ours = ConfigSearchPathImpl()
    ours.append("main", "pkg://kurve.conf")
    KurveSearchPath().manipulate_search_path(ours)
    assert paths(ours) == [("main", "pkg://kurve.conf"), ("kurve", own.as_uri())]


def test_folders_are_separated_as_in_path_and_have_to_exist(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURVE_CONF", "")
    assert own_folders() == []
    monkeypatch.chdir(own.parent)
    monkeypatch.setenv("KURVE_CONF", f"own{os.pathsep}{os.pathsep}{own / 'benchmark'}")
    assert own_folders() == [own, own / "benchmark"]
    monkeypatch.setenv("KURVE_CONF", "missing")
    with pytest.raises(ConfigError, match=r"KURVE_CONF names .*missing, which is no folder"):
        own_folders()


@pytest.mark.parametrize(
    ("words", "variable"),
    [(("--config-dir", "own"), ""), (("hydra.searchpath=[file://{own}]",), ""), ((), "own")],
)
def test_a_benchmark_of_one_s_own_is_composed_and_ours_keep_their_names(
    words: tuple[str, ...], variable: str, own: Path
) -> None:
    given = [word.format(own=own) for word in words]
    environment = command_environment() | {"KURVE_CONF": variable}
    for name, composed in (("mine", "name: mine"), ("arithmetic", "name: arithmetic")):
        shown = run_here(
            own.parent, ["evaluate", "model.path=x", f"benchmark={name}", *given, "--cfg", "job"], environment
        )
        assert shown.returncode == 0, shown.stderr
        assert f"benchmark:\n  _target_: kurve.benchmarks.arithmetic.load\n  {composed}\n" in shown.stdout


def test_own_options_are_listed_with_ours(own: Path, kurve_here: RunKurve) -> None:
    for words, variable in (
        (("--config-dir", "own"), ""),
        (("--config-dir=own",), ""),
        (("-cd", "own"), ""),
        ((), "own"),
    ):
        listed = kurve_here("list", "benchmark", *words, KURVE_CONF=variable)
        assert listed.returncode == 0, listed.stderr
        assert re.search(r"mine +One sum of mine", listed.stdout)
        assert re.search(r"arithmetic +Word problems made on the spot", listed.stdout)
    (own / "flavour").mkdir()
    (own / "flavour" / "sweet.yaml").write_text("# Sugar.\n")
    assert "Sugar." in kurve_here("list", "flavour", "--config-dir", "own").stdout


@pytest.mark.parametrize("words", [("--config-dir",), ("--config-dir", "missing"), ("--config-dir=",)])
def test_a_folder_of_configs_that_is_none_is_refused(words: tuple[str, ...], kurve_here: RunKurve) -> None:
    for refused in (kurve_here("list", "benchmark", *words), kurve_here("list", "benchmark", KURVE_CONF="missing")):
        assert refused.returncode == 2
        assert "no folder" in refused.stderr or "takes a folder" in refused.stderr


def test_a_module_that_cannot_be_imported_is_named_with_what_to_do(own: Path, kurve_here: RunKurve) -> None:
    (own / "benchmark" / "lost.yaml").write_text("_target_: lost_module.load\nname: lost\nnum_samples: 1\n")
    refused = kurve_here("sample", *SCRIPTED[:-2], "benchmark=lost", KURVE_CONF="own")
    assert refused.returncode == 2
    assert "lost_module.load cannot be imported: No module named 'lost_module'" in refused.stderr
    assert "PYTHONPATH" in refused.stderr


@pytest.mark.slow
def test_a_sweep_under_joblib_finds_own_configs_in_its_workers(own: Path, kurve: RunKurve) -> None:
    for words, variable in (((f"hydra.searchpath=[file://{own}]",), ""), ((), "own")):
        done = kurve(
            "evaluate", "-m", *SCRIPTED, "benchmark=mine", "cluster=local", "seed=0,1", f"sweep_name=by{variable}",
            *words, KURVE_CONF=variable,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("FINISHED") == 2


def run_app(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The program of docs/extend.md, in a folder that knows nothing of kurve's source."""
    (folder / "app.py").write_text(blocks("extend.md")["app.py"])
    environment = {name: value for name, value in command_environment().items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "app.py", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_program_of_one_s_own_has_our_groups(tmp_path: Path) -> None:
    done = run_app(tmp_path, "+benchmark=arithmetic", "benchmark.limit=3", "+num_samples=4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("arithmetic 3 Dan has 23 pencils")
    assert done.stdout.endswith("1.0\n")


@pytest.mark.slow
def test_a_program_s_jobs_in_other_processes_know_our_resolvers(tmp_path: Path) -> None:
    done = run_app(
        tmp_path, "-m", "+benchmark=arithmetic", "benchmark.limit=1,2", "+num_samples=4", "hydra/launcher=joblib",
        "+here='${kurve.absolute:x}'", "hydra.sweep.subdir=${here}-${hydra.job.num}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("x-*")) == ["x-0", "x-1"]
