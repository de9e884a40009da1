"""Names for the folders of a multirun's jobs: a file system takes them, and none leaves the sweep's folder."""

import hashlib
import re
from pathlib import PurePath

from mva.names import BadName

MAXIMUM = 200  # bytes of 255: beside a name there may stand a longer one with a suffix
SHIPPED = "${job_folder:${hydra.job.override_dirname}}"


def job_folder(overrides: str) -> str:
    """Name a job's folder after its overrides; each part of the path that is too long is cut and ends in a hash.

    A part that would lead out of the sweep's folder (`..`, or none at all before the first `/`) and control characters
    are written as in a URL: `%2E%2E`. The same overrides always give the same name, so that a multirun that is started
    again finds its jobs.
    """
    first, *others = str(overrides).split("/")
    return "/".join([_short(_harmless(first) or "%2F"), *(_short(_harmless(part)) for part in others)])


def inside_sweep(subdir: str) -> str:
    """Let a job's folder (`hydra.sweep.subdir`) stay in the sweep's, also when it depends on the job.

    Raises:
        BadName: If it leads out of the sweep's folder.
    """
    if subdir == SHIPPED:
        return subdir
    if "${" in subdir:
        if re.search(r"['\\]", subdir):
            raise BadName(f"hydra.sweep.subdir is {subdir}: leave out the quotes and \\.")
        return f"${{job_folder:'{subdir}'}}"
    if PurePath(subdir).is_absolute() or ".." in PurePath(subdir).parts or re.search(r"[\x00-\x1f]", subdir):
        raise BadName(f"hydra.sweep.subdir is {subdir!r}: a job's folder lies in the sweep's, so name one in there.")
    return subdir


def _harmless(part: str) -> str:
    if part in (".", ".."):
        return part.replace(".", "%2E")
    return re.sub(r"[\x00-\x1f\x7f]", lambda sign: f"%{ord(sign[0]):02X}", part)


def _short(part: str) -> str:
    raw = part.encode(errors="surrogateescape")
    if len(raw) <= MAXIMUM:
        return part
    digest = hashlib.sha256(raw).hexdigest()[:12]
    return f"{raw[: MAXIMUM - 13].decode(errors='ignore')}-{digest}"
