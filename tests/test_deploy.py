"""deploy/: no secret in a file, nothing unpinned, scripts that refuse what is missing, the server that they start."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.objects import object_store
from tests.mlflow_plugins.postgresql import cluster
from tests.mlflow_plugins.servers import ask, free_port
from tests.tracking_samples import report, run_info

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOY = REPOSITORY / "deploy"
SCRIPTS = sorted([*DEPLOY.glob("*.sh"), *DEPLOY.glob("slurm/*.sbatch")])
SECRET = re.compile(r"PASSWORD|SECRET|_KEY|TOKEN|ROOT_USER", re.IGNORECASE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def texts(value: object) -> Iterator[str]:
    """All texts in a document."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    [base] = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for image in [*(service["image"] for service in compose["services"].values()), base]:
        assert re.fullmatch(r"[\w./-]+:.*\d+.\d+.*", image), image
        assert not image.endswith(":latest")


def test_secrets_come_from_files_alone_and_each_that_is_used_is_defined(compose: dict[str, Any]) -> None:
    defined = set(compose["secrets"])
    assert all(re.match(r"\$\{KURVE_SECRETS:\?.*\}/\w+$", one["file"]) for one in compose["secrets"].values())
    used: set[str] = set()
    for service in compose["services"].values():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert key.endswith("_FILE"), key
                assert value.startswith("/run/secrets/")
                assert value.removeprefix("/run/secrets/") in service["secrets"]
        used |= set(service.get("secrets", ()))
    assert used == defined


def test_what_a_person_has_to_give_is_asked_for_and_volumes_and_services_exist(compose: dict[str, Any]) -> None:
    asked = {match[1]: match[2] for text in texts(compose) for match in re.finditer(r"\$\{(\w+)(:[?-])?[^}]*\}", text)}
    assert {name for name, how in asked.items() if how == ":?"} == {"KURVE_SECRETS", "KURVE_ALLOWED_HOSTS"}
    assert all(asked.values())  # none is silently empty
    for service in compose["services"].values():
        assert set(service.get("depends_on", ())) <= set(compose["services"])
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]


def test_no_file_holds_a_secret() -> None:
    for path in [*DEPLOY.rglob("*"), REPOSITORY / "docs" / "server.md"]:
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                given = re.search(r"(?:PASSWORD|SECRET_KEY|ACCESS_KEY(?:_ID)?|password)\s*[=:]\s*(\S+)", line)
                assert given is None or re.match(r'[$"/.;{}?]', given[1]), f"{path.name}: {line}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_and_refuse_what_is_missing(script: Path, tmp_path: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(["bash", str(script)], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(r"(MLFLOW_BACKEND_STORE_URI|KURVE_VENV): set it to", done.stderr)


def sweep_script(folder: Path, kurve: str, **environment: str) -> "subprocess.Popen[str]":
    """sweep.sbatch at work, with a script in place of `kurve`."""
    (folder / "bin").mkdir()
    (folder / "bin" / "kurve").write_text(f"#!/usr/bin/env bash\n{kurve}\n")
    (folder / "bin" / "kurve").chmod(0o755)
    given = {"PATH": os.environ["PATH"], "KURVE_VENV": str(folder), "KURVE_OUT": str(folder), **environment}
    return subprocess.Popen(
        ["bash", str(DEPLOY / "slurm" / "sweep.sbatch"), "train", "-m", "algorithm=grpo,rloo"],
        env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_sweep_s_job_hands_on_the_command_the_address_and_the_end(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("http://node7:5000\n")
    process = sweep_script(
        tmp_path, 'echo "$@ to $MLFLOW_TRACKING_URI by $KURVE_SPOOL_DIR"; exit 2', KURVE_SERVER_FILES=str(tmp_path)
    )
    said, _ = process.communicate(timeout=30)
    assert said == f"train -m algorithm=grpo,rloo to http://node7:5000 by {tmp_path}/spool\n"
    assert process.returncode == 2


def test_a_sweep_s_job_that_is_told_to_stop_lets_the_sweep_end_by_itself(tmp_path: Path) -> None:
    script = "trap 'sleep 0.3; echo closed; exit 130' TERM; echo ready; while :; do sleep 0.05; done"
    process = sweep_script(tmp_path, script, MLFLOW_TRACKING_URI="http://localhost:1")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert (said, process.returncode) == ("closed\n", 130)


@contextlib.contextmanager
def served(folder: Path, environment: Mapping[str, str], url: str) -> Iterator[None]:
    """start-server.sh as the image runs it, with the programs of this environment, until it answers."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", str(DEPLOY / "start-server.sh")],
            env={"PATH": programs, "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
            cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 600
        while True:
            assert process.poll() is None, (folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                if ask(f"{url}/health").status == 200:
                    break
            time.sleep(0.5)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_start_script_serves_users_on_an_empty_database_and_bucket_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    secrets = {"MLFLOW_AUTH_ADMIN_PASSWORD": "a long one, with % and @", "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32}
    for name, value in secrets.items():
        (tmp_path / name).write_text(value)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secrets["MLFLOW_AUTH_ADMIN_PASSWORD"])
    with cluster() as postgresql, object_store(tmp_path, bucket="") as objects:
        database = postgresql.database("deployed").replace("postgresql:", "postgresql+psycopg2:").replace(":geheim", "")
        settings = (DEPLOY / "auth.ini").read_text().replace("postgresql+psycopg2://kurve@database/kurve", database)
        (tmp_path / "auth.ini").write_text(settings)
        environment = {
            **objects.environment,
            **{f"{name}_FILE": str(tmp_path / name) for name in secrets},
            "PGPASSWORD": "geheim",
            "MLFLOW_BACKEND_STORE_URI": database,
            "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
            "KURVE_BUCKET": "runs",
            "KURVE_ALLOWED_HOSTS": f"127.0.0.1:{port}",
            "KURVE_HOST": "127.0.0.1",
            "KURVE_PORT": str(port),
        }
        with served(tmp_path, environment, url):
            assert ask(f"{url}/kurve").status == 401
            assert ask(f"{url}/kurve", user=("admin", secrets["MLFLOW_AUTH_ADMIN_PASSWORD"])).status == 200
            assert ask(f"{url}/kurve", host="evil.example.org").status == 403
            (tmp_path / "kept.txt").write_text("kept")
            tracker = MlflowTracker(uri=url, timeout=300, check_timeout=300, folder=tmp_path)
            assert tracker.start(run_info())
            tracker.log_report(report(8), [tmp_path / "kept.txt"])
            tracker.finish("FINISHED")
        with served(tmp_path, environment, url):
            again = MlflowTracker(uri=url, timeout=300, check_timeout=300, folder=tmp_path)
            assert not again.start(run_info())  # it is there
            assert again.run_id == tracker.run_id
            assert again.fetch(again.run_id, "kept.txt", tmp_path / "read").read_text() == "kept"
        assert any(name.endswith("kurve/kept.txt") for name in objects.names("runs"))
