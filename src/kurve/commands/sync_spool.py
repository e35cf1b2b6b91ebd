"""The part of `kurve sync` that sends the spool: what any program logged while the tracking server was away."""

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve.commands.build import build
from kurve.errors import TrackingError
from kurve.spool_progress import SpoolProgress
from kurve.spooling import Left, Sent, Spool


def sync_spool(cfg: DictConfig, console: Console) -> list[TrackingError]:
    """Send every journal of the spool, the oldest first, and say what became of each.

    Returns:
        What kept some of them from being sent; a server that is away is asked once.

    Raises:
        ConfigError: a journal does not say which server it is for.
    """
    if not cfg.spool:
        return []
    spool: Spool = build(cfg.journals, "journals")
    failures: dict[str, TrackingError] = {}
    found = spool.left()
    for left in found:
        line = _in_words(left)
        if not cfg.dry_run and left.server not in failures:
            try:
                line = _send(spool, left, retry=cfg.retry)
            except TrackingError as error:
                failures[left.server] = error
        console.print(Text(f"{left.folder.name} for {left.server}: {line}"), soft_wrap=True)
    if not found:
        console.print(Text(f"the spool {cfg.spool} holds nothing"), soft_wrap=True)
    return list(failures.values())


def _send(spool: Spool, left: Left, *, retry: bool) -> str:
    """Send one journal; what was done, in words."""
    total = [0, 0, 0, 0]
    reasons: dict[str, None] = {}
    with SpoolProgress(left.folder.name) as progress:
        for again in (False, True) if retry else (False,):
            sent = spool.send(left, progress.at, retry=again)
            total = [one + more for one, more in zip(total, _counts(sent), strict=True)]
            reasons |= dict.fromkeys(sent.reasons)
    runs, records, files, refused = total
    made = ((runs, "new run"), (records, "record"), (files, "file"))
    parts = [f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in made if count]
    said = f"sent {', '.join(parts)}" if parts else "nothing left to send"
    kept = refused if retry else refused + left.quarantined
    if kept:
        why = f": {next(iter(reasons))}" if reasons else ""
        said += f"; {kept:,} in quarantine ({left.folder / 'quarantine.jsonl'}){why}"
    return said


def _counts(sent: Sent) -> tuple[int, int, int, int]:
    return sent.runs, sent.records, sent.files, sent.refused


def _in_words(left: Left) -> str:
    parts = [f"{left.records:,} records left, {left.files:,} of them files"]
    if left.quarantined:
        parts.append(f"{left.quarantined:,} in quarantine")
    if left.alive:
        parts.append("its process is still logging")
    return ", ".join(parts)
