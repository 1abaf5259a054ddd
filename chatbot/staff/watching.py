"""Notices that the knowledge files changed: as the system reports it, and by looking oneself where it reports nothing."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import watchfiles

from chatbot.shelf import WATCHED, Stamp, folder_stamps

QUIET_MS = 60  # a file that is being written is left alone until it has been still for so long
LONGEST_MS = 400
LOOK_EVERY_S = 2.0  # for folders whose changes the system does not report, such as network drives
LOOK_SHARE = 50  # and never more than a fiftieth of the time
log = logging.getLogger(__name__)


def watch(root: Path, seen: Mapping[str, Stamp], stop: threading.Event, changed: Callable[[], None]) -> None:
    """Call ``changed`` soon after each change below the folder until ``stop`` is set.

    The folder may vanish, and another may take its place; ``changed`` is called then as well.

    Args:
        root: The knowledge folder.
        seen: The stamps of the files that are known already.
        stop: Ends the watching within some seconds.
        changed: Called from this thread, possibly more than once for one change.
    """
    look_at = time.monotonic()
    while not stop.is_set():
        identity = _identity(root)
        try:
            for paths in _changes(root, stop) if identity is not None else ():
                if any(_matters(root, path) for path in paths):
                    changed()
                elif time.monotonic() >= look_at:  # for changes that nobody reports
                    began = time.monotonic()
                    found = folder_stamps(root)
                    look_at = time.monotonic() + LOOK_SHARE * (time.monotonic() - began)
                    if found != seen:
                        seen = found
                        changed()
                if _identity(root) != identity:
                    break  # another folder was put in the place of this one: watch that
        except FileNotFoundError:
            log.warning("%s is gone; it is looked for every %.0f s", root, LOOK_EVERY_S)
        except Exception:
            log.exception("watching %s failed; it goes on by looking again and again", root)
        stop.wait(LOOK_EVERY_S)
        changed()


def _changes(root: Path, stop: threading.Event) -> Iterator[set[str]]:
    """Yield the paths that changed; an empty set every now and then, to look oneself."""
    for changes in watchfiles.watch(
        root, watch_filter=None, debounce=LONGEST_MS, step=QUIET_MS, stop_event=stop,
        rust_timeout=int(LOOK_EVERY_S * 1000), yield_on_timeout=True, raise_interrupt=False,
    ):  # fmt: skip
        yield {path for _, path in changes}


def _matters(root: Path, path: str) -> bool:
    """Say whether a change there can change the knowledge: files of ours, and whole folders that come or go."""
    try:
        parts = Path(path).relative_to(root.resolve()).parts
    except ValueError:
        return True
    if any(part.startswith((".", "_")) for part in parts):
        return False
    return path.endswith(WATCHED) or "." not in parts[-1] if parts else True


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
