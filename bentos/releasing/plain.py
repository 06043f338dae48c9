"""The folder of a released package; one that lies encrypted is decrypted into memory first.

Engines open files, so the plain package is a folder: in a memory file system (tmpfs), so that it reaches no disk but by swap,
and for this user alone. The processes of a host share one copy. Each holds a file in it; the last that ends removes the
copy, and the next start removes what killed ones left.
"""

import atexit
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

import psutil
from filelock import FileLock

from bentos.limits.sweep import USERS, hold, own_folder
from configs.load import settings
from vision.encrypted import SUFFIX, decrypt_package
from vision.errors import MachineError
from vision.machine_faults import clear_faults
from vision.package_key import key_error, read_key
from vision.release import ReleasedModel, package_folder

SHARED_MEMORY = Path("/dev/shm")
IN_MEMORY = ("tmpfs", "ramfs")
PACKAGE, LOCK = "package", "lock"
COPY = re.compile(r"[0-9a-f]{64}")
BYTES_PER_MIB = 2**20


def served_folder(release_file: Path, model: ReleasedModel) -> Path:
    """Raises `UserError` without the right key, `MachineError` for a damaged file or too little memory."""
    place = package_folder(release_file, model)
    return _in_memory(place, model.package_sha) if place.suffix == SUFFIX else place


@cache
def _in_memory(encrypted: Path, package_sha: str) -> Path:
    """Once a process."""
    if settings().package_key_file is None:
        raise key_error(f"{encrypted} is encrypted, and no key is named")
    key = read_key(settings().package_key_file)
    copies = _copies(encrypted, package_sha)
    own_folder(copies)
    for copy in copies.iterdir():
        if COPY.fullmatch(copy.name):
            remove_unused(copy)
    copy = copies / package_sha
    atexit.register(_leave, hold(copy), copy)
    with FileLock(copy / LOCK), clear_faults(copy):
        if not (copy / PACKAGE).is_dir():
            decrypt_package(encrypted, copy / PACKAGE, key, package_sha)
    return copy / PACKAGE


def _copies(encrypted: Path, package_sha: str) -> Path:
    """Where copies lie: in the first memory that has this one already, or room for it."""
    needed = encrypted.stat().st_size if encrypted.is_file() else 0
    places = [place for place in (SHARED_MEMORY, Path(tempfile.gettempdir())) if _is_memory(place)]
    folders = [place / f"visionops-{os.getuid()}-packages" for place in places]
    there = [folder for folder in folders if (folder / package_sha / PACKAGE).is_dir()]
    room = [folder for folder in folders if shutil.disk_usage(folder.parent).free > needed]
    if not there and not room:
        raise MachineError(
            f"{encrypted.name} wants {needed / BYTES_PER_MIB:.0f} MiB of memory to be decrypted into",
            f"{SHARED_MEMORY} or the temporary folder as a tmpfs with that room: the plain package goes to no disk",
            "make one larger (docker: --shm-size; --tmpfs /tmp), or free memory",
        )
    return (there or room)[0]


def _is_memory(place: Path) -> bool:
    if not os.access(place, os.W_OK):
        return False
    kinds = {one.mountpoint: one.fstype for one in psutil.disk_partitions(all=True)}
    mounted = next(str(one) for one in (place.resolve(), *place.resolve().parents) if str(one) in kinds)
    return kinds[mounted] in IN_MEMORY


def _leave(held: int, copy: Path) -> None:
    os.close(held)
    remove_unused(copy)


def remove_unused(copy: Path) -> None:
    """Removes a copy that no process holds. Who is about to take it waits, and makes it anew."""
    with contextlib.suppress(OSError):
        users = os.open(copy / USERS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(copy, ignore_errors=True)
        finally:
            os.close(users)
