"""Fetches a model file from the model hub: with progress, in pieces if need be, and only whole and checked.

The file grows as ``NAME.part`` and gets its name when its size, its hash and its structure are right, so a file
with its name is always a usable one.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from chatbot.engine.gguf_file import check_model
from chatbot.engine.models import ModelEntry, file_sha256, models_folder, remember
from chatbot.errors import ModelLoadError, SettingsError

HUB = "https://huggingface.co"
HUB_VARIABLE = "HEALTHFAQ_HUB"
TRIES = 5
FIRST_PAUSE_S = 1.0
READ_TIMEOUT_S = 30.0
SPARE_BYTES = 64 * 1024 * 1024  # room that must be left on the disk

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A fetched model file."""

    path: Path
    sha256: str
    verified: bool  # against the registry's hash; False: this is only the hash that was seen
    fetched: bool  # False: it was here already


def pull(
    name: str,
    entry: ModelEntry,
    state: Path,
    *,
    hub: str = "",
    unverified: bool = False,
    accept_terms: bool = False,
    progress: Progress = lambda done, total: None,
    pause_s: float = FIRST_PAUSE_S,
) -> Pulled:
    """Return the model's file, fetched if it is not here yet. What an earlier, broken-off pull fetched is kept.

    Args:
        name: The model's name.
        entry: Its place on the hub, size and hash.
        state: The folder under which models lie.
        hub: Base URL; empty: the environment's ``HEALTHFAQ_HUB``, else the public hub.
        unverified: Take the file although no hash of it is known.
        accept_terms: The operator has read and accepts the model's terms.
        progress: Told ``(bytes here, bytes in all)``.
        pause_s: Before the first new try after an interruption; doubles each time.

    Raises:
        SettingsError: Terms or ``unverified`` are asked for, the hub or the disk fails, or the hub has another file.
        ModelLoadError: What came is not the file it should be; it was removed.
    """
    if entry.terms and not accept_terms:
        raise SettingsError(f"{name} has terms of its own. {entry.terms} To accept them: --accept-terms")
    if not entry.sha256 and not unverified:
        raise SettingsError(f"{name}: no hash of its file is known to check it against; add --unverified")
    folder = models_folder(state)
    path, part = folder / entry.file, folder / f"{entry.file}.part"
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        fetched = not path.is_file()
        if fetched:
            url = f"{(hub or os.environ.get(HUB_VARIABLE) or HUB).rstrip('/')}/{entry.repository}"
            _fetch(f"{url}/resolve/{entry.revision}/{entry.file}", part, entry.size, progress, pause_s)
        sha256 = _checked(part if fetched else path, entry)
        if fetched:
            part.replace(path)
    remember(path, name, state, sha256)
    return Pulled(path, sha256, entry.sha256 is not None, fetched)


def _checked(path: Path, entry: ModelEntry) -> str:
    found = file_sha256(path)
    if entry.sha256 and found != entry.sha256:
        path.unlink()
        wrong = f"has the sha256 {found[:12]}…, not {entry.sha256[:12]}…"
        raise ModelLoadError(f"{path}: {wrong}; it was removed, pull it again")
    try:
        check_model(path)
    except ModelLoadError:
        path.unlink()
        raise
    return found


def _fetch(url: str, part: Path, size: int | None, progress: Progress, pause_s: float) -> None:
    with httpx.Client(follow_redirects=True, timeout=httpx.Timeout(READ_TIMEOUT_S, connect=10)) as client:
        for left in reversed(range(TRIES)):
            before = part.stat().st_size if part.exists() else 0
            try:
                return _go_on(client, url, part, size, progress)
            except (httpx.TransportError, _BrokeOffError) as error:
                here = part.stat().st_size if part.exists() else 0
                if not left:
                    reason = f"{url}: broke off after {here} bytes ({type(error).__name__})"
                    raise SettingsError(f"{reason}; pull again to go on from there") from error
                if here > before:
                    continue  # it got on, so go straight on
            time.sleep(pause_s)
            pause_s *= 2
    return None


def _go_on(client: httpx.Client, url: str, part: Path, size: int | None, progress: Progress) -> None:
    here = part.stat().st_size if part.exists() else 0
    if size is not None and here == size:
        return
    headers = {"Range": f"bytes={here}-", "Accept-Encoding": "identity"} if here else {"Accept-Encoding": "identity"}
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # longer than the file: it cannot be a piece of it
            raise _BrokeOffError("the earlier piece did not fit")
        if answer.status_code >= 500:
            raise _BrokeOffError(f"status {answer.status_code}")
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise SettingsError(f"{url}: the hub answered {answer.status_code}; {_advice(answer.status_code)}")
        if answer.status_code == httpx.codes.OK:
            here = 0  # the hub sends all of it, so begin anew
        total = here + int(answer.headers.get("Content-Length", 0)) if "Content-Length" in answer.headers else size or 0
        if size is not None and total not in (0, size):
            raise SettingsError(f"{url}: the hub has {total} bytes, the registry says {size}; nothing was fetched")
        if (free := shutil.disk_usage(part.parent).free) < total - here + SPARE_BYTES:
            wanted = f"{total - here} bytes are to come and {free} are free"
            raise SettingsError(f"{part.parent}: {wanted}; make room and pull again")
        _write(answer, part, here, total, progress)


def _write(answer: httpx.Response, part: Path, here: int, total: int, progress: Progress) -> None:
    with part.open("r+b" if here else "wb") as file:
        file.seek(here)
        file.truncate()
        try:
            progress(here, total)
            for chunk in answer.iter_bytes():
                file.write(chunk)
                here += len(chunk)
                if total and here > total:
                    raise SettingsError(f"{answer.url}: the hub sent more than the {total} bytes it announced")
                progress(here, total)
        finally:
            file.flush()
            os.fsync(file.fileno())
    if total and here < total:
        raise _BrokeOffError(f"{here} of {total} bytes")


class _BrokeOffError(Exception):
    """The rest did not come; another try may bring it."""


def _advice(status: int) -> str:
    match status:
        case 401 | 403:
            return "this file needs an account there; fetch it by hand and choose it with `healthfaq model use FILE`"
        case 404:
            return "there is no such file any more; choose another model with `healthfaq model list`"
        case _:
            return "try again later"


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SettingsError(f"{folder}: the disk is full; make room and pull again, what came is kept") from error
        raise SettingsError(f"{folder}: cannot be written ({error.strerror}); check the folder") from error
