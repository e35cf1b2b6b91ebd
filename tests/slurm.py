"""A real Slurm of one node on this machine: munge, a controller, a node with two devices that it takes for GPUs."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.mlflow_plugins.servers import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
GPUS = 2
ON_SLURM = (  # a job small enough for any machine
    "cluster=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1", "hydra.launcher.gpus_per_node=0",
)  # fmt: skip
_SBIN = "/usr/sbin"  # not on everybody's path


def missing_programs() -> list[str]:
    """What of Slurm is not installed."""
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


class Slurm:
    """A cluster of one node, with all its files under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{os.environ.get('PATH', '')}:{_SBIN}",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the three services and wait until the node takes jobs."""
        self._write()
        munge = self.folder / "munge"
        self._run(
            "munged", "--foreground", "--force", f"--socket={munge / 'socket'}", f"--key-file={munge / 'key'}",
            f"--pid-file={munge / 'pid'}", f"--seed-file={munge / 'seed'}", f"--log-file={munge / 'log'}",
        )  # fmt: skip
        self._await("munged", lambda: (munge / "socket").exists())
        self._run("slurmctld", "-D")
        self._run("slurmd", "-D", "-N", socket.gethostname())
        self._await("the node", lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"))

    def stop(self) -> None:
        """End all jobs and services."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.ask("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
            self.ask("scancel", f"--user={getpass.getuser()}")
            self._await("the end of all jobs", lambda: not self.ask("squeue", "--noheader"), seconds=30)
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes = []

    def ask(self, *words: str) -> str:
        """What a program of Slurm's prints; empty while it does not answer."""
        done = subprocess.run(
            words, env=os.environ | self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def jobs(self) -> list[tuple[str, str]]:
        """Id and state of each task of an array in the queue."""
        lines = self.ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def _await(self, what: str, is_there: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not is_there():
            ended = [process.args for process in self._processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.log"))
                raise RuntimeError(f"{what} did not come; ended: {ended}\n{logs}")
            time.sleep(0.2)

    def _run(self, *words: str) -> None:
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    words, env=os.environ | self.environment, stdout=log, stderr=log, start_new_session=True
                )
            )

    def _write(self) -> None:
        for name in ("munge", "state", "spool", "gpus"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        for number, device in enumerate(("/dev/null", "/dev/zero")):  # Slurm numbers devices, not plain files
            (self.folder / "gpus" / f"gpu{number}").symlink_to(device)
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpus/gpu[0-{GPUS - 1}]\n")
        (self.folder / "slurm.conf").write_text("".join(f"{line}\n" for line in self._settings()))

    def _settings(self) -> Sequence[str]:
        host, user = socket.gethostname(), getpass.getuser()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        return [
            "ClusterName=kurve",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={free_port()}",
            f"SlurmdPort={free_port()}",
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            "AuthType=auth/munge",
            f"AuthInfo=socket={self.folder}/munge/socket,cred_expire=5",  # a job queued again waits that long
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/slurmd.pid",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "MpiDefault=none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory",
            "AccountingStorageType=accounting_storage/none",
            "JobAcctGatherType=jobacct_gather/none",
            "SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=1",
            "ReturnToService=2",
            "KillWait=20",
            "MailProg=/bin/true",
            "GresTypes=gpu",
            # As many jobs as the tests start run at once, whatever processors there are.
            f"NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory={memory} Gres=gpu:{GPUS} State=UNKNOWN",
            "SlurmdParameters=config_overrides",
            f"PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP",
        ]


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """A cluster while the block lasts."""
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
