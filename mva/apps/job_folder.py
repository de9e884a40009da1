"""Names for the folders of a multirun's jobs that a file system takes."""

import hashlib

MAXIMUM = 200  # bytes of 255: beside a name there may stand a longer one with a suffix


def job_folder(overrides: str) -> str:
    """Name a job's folder after its overrides; each part of the path that is too long is cut and ends in a hash.

    The same overrides always give the same name, so that a multirun that is started again finds its jobs.
    """
    return "/".join(_short(part) for part in overrides.split("/"))


def _short(part: str) -> str:
    raw = part.encode()
    if len(raw) <= MAXIMUM:
        return part
    digest = hashlib.sha256(raw).hexdigest()[:12]
    return f"{raw[: MAXIMUM - 13].decode(errors='ignore')}-{digest}"
