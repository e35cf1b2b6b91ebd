"""`kurve sync`: send what trainings, and whatever logs through a spool, could not send while the server was away."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text
from yaml import YAMLError

from kurve.commands.build import build
from kurve.commands.sync_spool import sync_spool
from kurve.errors import ConfigError, TrackingError
from kurve.journal import close_abandoned
from kurve.journal_file import FOLDER, POINTS, REJECTED
from kurve.outbox import Outbox, Sent, run_key, send_all
from kurve.tracking import Tracker

CONFIG = "config.yaml"  # of a training
_PLACES = ("uri", "folder")  # settings of trackers that say where runs go


def main(cfg: DictConfig) -> None:
    """Send the rest of one training; or of all under paths.models, each to its tracker, and of the spool.

    Raises:
        ConfigError: there is no such training, or it does not say where its run is.
        TrackingError: a tracker cannot be reached; the rest was sent.
    """
    console = Console(highlight=False)
    failures: list[TrackingError] = []
    trainings = _trainings(cfg)
    for training in trainings:
        try:
            line = _left(training) if cfg.dry_run else _sync(cfg, training)
        except TrackingError as error:
            failures.append(error)
            line = "not sent"
        console.print(Text(f"{training.name}: {line}"), soft_wrap=True)
    if not trainings:
        console.print(Text(f"there are no trainings in {cfg.paths.models}"), soft_wrap=True)
    if cfg.folder is None:
        failures += sync_spool(cfg, console)
    if failures:
        raise TrackingError("\n".join(dict.fromkeys(str(error) for error in failures)))


def _trainings(cfg: DictConfig) -> list[Path]:
    """The folders to look at: the one that is named, by its path or a part of its name, or all that have a journal."""
    root = Path(cfg.paths.models)
    found = sorted(path.parent.parent for path in root.glob(f"*/{FOLDER}/{POINTS}"))
    if cfg.folder is None:
        return found
    reference = str(cfg.folder)
    named = Path(reference).expanduser().absolute()
    if (named / FOLDER / POINTS).is_file():
        return [named]
    fitting = [training for training in found if reference and reference in training.name]
    if len(fitting) == 1:
        return fitting
    if fitting:
        raise ConfigError(f"{reference} fits {', '.join(path.name for path in fitting)}; give more of the name")
    held = ", ".join(path.name for path in found[-5:]) or "none"
    raise ConfigError(
        f"{reference} is neither a training's folder nor a part of the name of one in {root} (there: {held}); "
        "give its folder, or paths.models=<folder of the trainings>"
    )


def _sync(cfg: DictConfig, training: Path) -> str:
    """Send one training's rest; what was done, in words."""
    killed = close_abandoned(training)
    outbox = Outbox(training)
    run_id, destination = outbox.run()
    if not run_id:
        return "was tracked nowhere"
    tracker = _tracker(cfg, training, destination)
    if outbox.is_empty(run_key(tracker, run_id)):
        return "nothing left to send"
    return f"{_in_words(send_all(training, tracker), killed=killed)}  {tracker.url}"


def _left(training: Path) -> str:
    """What a training still has to send, in words."""
    outbox = Outbox(training)
    run_id, destination = outbox.run()
    if not run_id:
        return "was tracked nowhere"
    points, files, untold = outbox.rest(f"{destination} {run_id}")
    return f"{points:,} points, {files:,} files left" + (", its status" if untold else "")


def _tracker(cfg: DictConfig, training: Path, destination: str) -> Tracker:
    """The tracker of the command line, or the one the training was started with.

    Unless the command line says where runs go, they go where this one really is: the address that was recorded may
    lack its password, or mean another place in this working folder or with these variables.
    """
    given = cfg.get("tracker") is not None
    node = cfg.tracker if given else _recorded_tracker(training)
    place = next((key for key in _PLACES if key in node), None)
    if place is not None and not (given and node[place]):
        if "***" in destination:
            raise ConfigError(
                f"{training} keeps no password; name its database: tracker=mlflow tracker.uri=... (was: {destination})"
            )
        node = OmegaConf.merge(node, {place: destination})
        assert isinstance(node, DictConfig)
    tracker: Tracker = build(node, "tracker")
    return tracker


def _recorded_tracker(training: Path) -> DictConfig:
    try:
        recorded = OmegaConf.load(training / CONFIG)
    except (OSError, YAMLError):
        recorded = None
    node = recorded.get("tracker") if isinstance(recorded, DictConfig) else None
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise ConfigError(
            f"{training / CONFIG} does not name the tracker of the training; name it: tracker=mlflow tracker.uri=..."
        )
    return node


def _in_words(sent: Sent, *, killed: bool) -> str:
    parts = [f"sent {sent.points:,} points"]
    if sent.files:
        parts.append(f"{sent.files:,} files")
    if sent.rejected:
        parts.append(f"{sent.rejected:,} refused for good (in {FOLDER}/{REJECTED}: {sent.reasons[0]})")
    if killed:
        parts.append("its process is gone: KILLED")
    return ", ".join(parts)
