"""What a failure of the machine means to a person: one `MachineError`, however deep Ray, Prefect or a library wrapped it.

Libraries tell of a full disk in their own ways (an `OSError`, a Rust error's text, torch's position counter), so known
texts count beside error numbers.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vision.errors import ClearError, MachineError


class Fault(NamedTuple):
    """numbers: of an `OSError`. texts: a pattern for errors that have no number."""

    numbers: tuple[int, ...]
    texts: str
    got: str
    allowed: str
    do: str


FAULTS = (
    Fault(
        (errno.ENOSPC, errno.EDQUOT),
        r"No space left on device|database or disk is full|quota exceeded|unexpected pos \d+ vs|iostream error",
        "no space left on the disk of {place}",
        "room there for what the run makes",
        "free space on that disk, or set VISIONOPS_STATE to a folder on a larger one",
    ),
    Fault(
        (errno.EFBIG,),
        r"File too large",
        "a file in {place} grew beyond what this process may write",
        "files as large as the run makes them",
        "raise the limit (ulimit -f) or use a disk that takes larger files",
    ),
    # Before EACCES: fsspec gives a store's refusal that number.
    Fault(
        (),
        r"password authentication failed|InvalidAccessKeyId|SignatureDoesNotMatch|Access Key Id you provided"
        r"|signature we calculated|Unable to locate credentials|401 Unauthorized",
        "a service does not take this machine's password or key: {why}",
        "the secret that the service knows",
        "correct VISIONOPS_DATABASE_URL, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or PREFECT_API_AUTH_STRING",
    ),
    Fault(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        r"Read-only file system|readonly database|Permission denied",
        "{place} can't be written or read: {why}",
        "a folder that this user may write",
        "give this user the right to write there, or set VISIONOPS_STATE to another folder",
    ),
    Fault(
        (errno.ENOTDIR,),
        r"Not a directory",
        "a file lies where a folder is needed: {place}",
        "a folder, or nothing yet",
        "move that file away, or set VISIONOPS_STATE to another folder",
    ),
    Fault(
        (errno.EMFILE, errno.ENFILE),
        r"Too many open files",
        "too many open files",
        "as many as the run opens",
        "raise the limit (ulimit -n)",
    ),
    Fault(
        (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH),
        r"Max retries exceeded|Failed to establish a new connection|All connection attempts failed|Could not connect to the endpoint"
        r"|connection to server at |server closed the connection unexpectedly|terminating connection due to administrator",
        "a service does not answer: {why}",
        "a running service at the address in the settings (VISIONOPS_MLFLOW_URI, VISIONOPS_DATABASE_URL, RAY_ADDRESS)",
        "start it or correct the address",
    ),
    Fault(
        (),
        r"database is locked",
        "a database is locked by another process: {why}",
        "a database that nobody holds for more than a few seconds",
        "end the process that holds it, or wait for it",
    ),
    Fault(
        (),
        r"unable to open database file|file is not a database|database disk image is malformed",
        "a database can't be read: {why}",
        "the SQLite file that VisionOps made, in a folder that this user may write",
        "look at that file; a damaged one is restored from a copy, or moved away to begin anew",
    ),
)
"""The first that fits. Texts are looked for in the first lines only: a traceback may quote anything."""

SECRET_IN_URL = re.compile(r"(?<=://)[^\s/@]+@")
WHY_CHARS = 200


def explained(error: BaseException, place: Path | None = None) -> ClearError | None:
    """The clear error that `error` is or stems from; None for one that is not known to be the machine's.

    place: where the work wrote, for errors that name no file.
    """
    if isinstance(error, ClearError):
        return error
    for link in _links(error):
        if isinstance(link, ClearError):
            return link
        for fault in FAULTS:
            if getattr(link, "errno", None) in fault.numbers or re.search(fault.texts, _text(link), re.IGNORECASE):
                # Of a copy, the second name is the one that was written.
                named = getattr(link, "filename2", None) or getattr(link, "filename", None)
                where = named or place or "the state folder or the temporary folder"
                why = redacted(getattr(link, "strerror", None) or _text(link))[:WHY_CHARS]
                return MachineError(fault.got.format(place=where, why=why), fault.allowed, fault.do)
    return None


@contextmanager
def clear_faults(place: Path) -> Iterator[None]:
    """What is raised inside and is the machine's comes out as a `MachineError` that names `place`."""
    try:
        yield
    except Exception as error:
        clear = explained(error, place)
        if clear is None or clear is error:
            raise
        raise clear from error


def redacted(text: str) -> str:
    """Without user names and passwords of URLs."""
    return SECRET_IN_URL.sub("…@", text)


def _text(error: BaseException) -> str:
    """Its last line where it holds a traceback (Ray's do), else its first ones."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[-1:] if "Traceback" in str(error) else lines[:3])


def _links(error: BaseException) -> Iterator[BaseException]:
    """`error` and all that it wraps: Ray's `cause` and failures by worker, groups, SQLAlchemy's `orig`, causes."""
    waiting, seen = [error], set()
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = [getattr(link, name, None) for name in ("cause", "orig", "__cause__")]
        inner += [] if link.__suppress_context__ else [link.__context__]
        failures = getattr(link, "worker_failures", None)
        inner += list(failures.values()) if isinstance(failures, dict) else []
        inner += list(getattr(link, "exceptions", ()))
        waiting += [found for found in inner if isinstance(found, BaseException)]
