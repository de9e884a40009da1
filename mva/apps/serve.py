"""`mva-serve run=FOLDER`: the live dial, a local page on which base and candidate answer side by side."""

import os
import socket
import sys
import webbrowser
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from mva.apps import assemble
from mva.apps.command import app
from mva.composition.linear import Linear
from mva.evaluation.generation import GenerationSpec
from mva.extrapolation.space import CoefficientSpace
from mva.models.adapter_files import load_adapter
from mva.report.run_files import RunFiles, read_run
from mva.serving.page import front_data, render_page
from mva.serving.speaker import Speaker

try:
    import uvicorn

    from mva.serving.server import make_app
except ImportError as error:
    if error.name not in {"uvicorn", "starlette"}:
        raise
    raise SystemExit("mva-serve needs the extra 'serve': pip install 'mva[serve]' (starlette and uvicorn).") from error


@app
def main(config: DictConfig) -> None:
    """Load the run's vectors beside the model and serve the page until Ctrl-C.

    Raises:
        ValueError: If no run is named, its candidates are no linear combinations, or it was made with another model.
        OSError: If the address can't be had.
    """
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-serve run=outputs/default/2026-11-23_14-05-00-000000")
    run, console = read_run(Path(config.run)), Console(highlight=False, soft_wrap=True)
    with _listen(str(config.serve.host), int(config.serve.port)) as listening:
        speaker = _speaker(run, config)
        front = front_data(run)
        page = render_page(run, speaker, front)
        host, port = str(config.serve.host), listening.getsockname()[1]
        names = [host, "localhost", "127.0.0.1", "[::1]", socket.gethostname(), *map(str, config.serve.hosts)]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        if not _is_loopback(host):
            console.print(
                f"serve.host={host} is not this machine alone: whoever can reach port {port} can use the model and see "
                f"the run; there is no password and no encryption."
            )
        console.print(f"The dial of {run.folder}: {url} (Ctrl-C ends it)")
        if config.serve.open and _has_screen():
            webbrowser.open(url)
        settings = uvicorn.Config(
            make_app(speaker, page=page, front=front, hosts=names), log_level="warning", timeout_graceful_shutdown=1
        )
        try:
            uvicorn.Server(settings).run(sockets=[listening])
        except KeyboardInterrupt:
            console.print("Stopped.")


def _speaker(run: RunFiles, config: DictConfig) -> Speaker:
    # The stored configuration is data: read for its numbers and names, never instantiated.
    stored: Any = OmegaConf.to_container(OmegaConf.create(run.config))
    composition = stored["composition"]["_target_"]
    if composition != f"{Linear.__module__}.{Linear.__qualname__}":
        raise ValueError(
            f"The run's candidates are composed by {composition.rpartition('.')[2]}: the dial serves linear "
            f"combinations alone, whose rows share one forward pass."
        )
    names = _vector_names(run, stored["value"]["names"])
    backbone = assemble.build(config.model).load()
    vectors = [load_adapter(run.folder / "adapters" / name) for name in names]
    if any(vector.base != backbone.fingerprint for vector in vectors):
        raise ValueError(
            f"The run was made with another model than {backbone.name} in {config.model.dtype}: name it with "
            f"model=... and model.dtype={stored['model']['dtype']} (its source was {stored['model']['source']})."
        )
    generation = {name: setting for name, setting in stored["evaluation"]["generation"].items() if name != "_target_"}
    if config.serve.max_new_tokens is not None:
        generation["max_new_tokens"] = int(config.serve.max_new_tokens)
    return Speaker(backbone, vectors, CoefficientSpace(names, **stored["extrapolation"]), GenerationSpec(**generation))


def _vector_names(run: RunFiles, values: list[str]) -> tuple[str, ...]:
    """Name the run's vectors: those of values in the order of the values, then the others (one a preference weight)."""
    found = [folder.name for folder in (run.folder / "adapters").glob("*/") if folder.is_dir()]
    if not found:
        raise ValueError(f"{run.folder} has no vectors in adapters/: the run has not trained any yet.")
    return tuple(sorted(found, key=lambda name: (values.index(name) if name in values else len(values), name)))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise OSError(
            f"{host}:{port} can't be listened at ({error}): choose another serve.host or serve.port."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _has_screen() -> bool:
    # Without one, `webbrowser` would start a text browser in the terminal.
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    main()
