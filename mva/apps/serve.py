"""`mva-serve FOLDER`: the live dial, a local page on which base and candidate answer side by side.

Examples:
    mva-serve run=FOLDER                        at http://127.0.0.1:8765/, the run's model named if it isn't the default
    mva-serve run=FOLDER serve.port=0 serve.max_new_tokens=300   at any free port, with longer answers
    mva-serve run=FOLDER serve.host=0.0.0.0 serve.hosts=[gpu-box.lan]   for other machines: no password, no encryption
"""

import json
import os
import socket
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mva.apps import assemble
from mva.apps.command import app
from mva.apps.errors import MENDABLE
from mva.apps.stored_config import read_config
from mva.composition.linear import Linear
from mva.evaluation.generation import GenerationSpec
from mva.extrapolation.space import CoefficientSpace
from mva.models.adapter_files import load_vectors, vector_names
from mva.runs.run_folder import RunFiles, read_run
from mva.serving.page import front_data, render_page
from mva.serving.speaker import Speaker
from mva.shapes import anything, fields, list_of, named, text
from mva.terminal import Console

try:
    import uvicorn

    from mva.serving.connections import settings
    from mva.serving.server import make_app
except ImportError as error:
    if (error.name or "").partition(".")[0] not in {"uvicorn", "starlette", "anyio"}:
        raise
    sys.stderr.write("mva-serve needs the extra 'serve': pip install 'mva[serve]' (starlette and uvicorn).\n")
    raise SystemExit(MENDABLE) from error

_STORED = fields(
    {
        "composition": fields({"_target_": text}),
        "value": fields({"names": list_of(text)}),
        "model": fields({"dtype": text, "source": fields({"_target_": text})}),
        "evaluation": fields({"generation": named(anything)}),
        "extrapolation": named(anything),
    }
)


@app
def main(config: DictConfig) -> None:
    """Load the run's vectors beside the model and serve the page until Ctrl-C.

    Raises:
        ValueError: If no run is named, its candidates are no linear combinations, or it was made with another model.
        OSError: If the address can't be had.
    """
    if config.run is None:
        raise ValueError("Which run? Give its folder: mva-serve outputs/default/2026-11-23_14-05-00-000000")
    run, console = read_run(Path(config.run)), Console(highlight=False, markup=False, soft_wrap=True)
    host, hosts = str(config.serve.host), list(config.serve.hosts)
    with _listen(host, int(config.serve.port)) as listening:
        speaker = _speaker(run, config)
        front = front_data(run)
        address, port = f"[{host}]" if ":" in host else host, listening.getsockname()[1]
        server = make_app(
            speaker,
            page=render_page(run, speaker, front),
            front=front,
            hosts=[address, "localhost", "127.0.0.1", "[::1]", socket.gethostname(), *hosts],
        )
        if not _is_loopback(host):
            console.print(_warning(host, port, hosts))
        url = f"http://{address}:{port}/"
        console.print(f"The dial of {run.folder}: {url} (Ctrl-C ends it)")
        if config.serve.open and _has_screen():
            webbrowser.open(url)
        with suppress(KeyboardInterrupt):  # uvicorn has closed everything, and raises it once more
            uvicorn.Server(settings(server)).run(sockets=[listening])
        console.print("Stopped.")


def _warning(host: str, port: int, hosts: Sequence[str]) -> str:
    return (
        f"serve.host={host} is not this machine alone: whoever can reach port {port} can use the model and see the "
        f"run; there is no password and no encryption. Browsers elsewhere call it by "
        f"{' or '.join([socket.gethostname(), *hosts])}; serve.hosts=[NAME] adds further names."
    )


def _speaker(run: RunFiles, config: DictConfig) -> Speaker:
    # The stored configuration is data: read for its numbers and names, never instantiated.
    stored: Any = read_config(run.config, where=str(run.folder / "config.yaml"), shape=_STORED)
    composition = stored["composition"]["_target_"]
    if composition != f"{Linear.__module__}.{Linear.__qualname__}":
        raise ValueError(
            f"The run's candidates are composed by {composition.rpartition('.')[2]}: the dial serves linear "
            f"combinations alone, whose rows share one forward pass."
        )
    names = _vector_names(run, stored["value"]["names"])
    backbone = assemble.build(config.model).load()
    vectors = load_vectors(run.folder / "adapters", names)
    if any(vector.base != backbone.fingerprint for vector in vectors):
        raise ValueError(
            f"The run was made with another model than {backbone.name} in {config.model.dtype}: name it, model=... "
            f"model.dtype={stored['model']['dtype']} (its source was {_in_words(stored['model']['source'])})."
        )
    _check_template(stored["model"], config.model)
    generation = {name: setting for name, setting in stored["evaluation"]["generation"].items() if name != "_target_"}
    if config.serve.max_new_tokens is not None:
        generation["max_new_tokens"] = int(config.serve.max_new_tokens)
    try:
        space, spec = CoefficientSpace(names, **stored["extrapolation"]), GenerationSpec(**generation)
    except TypeError as error:
        raise ValueError(f"{run.folder / 'config.yaml'} has settings that this mva does not know ({error}).") from error
    return Speaker(backbone, vectors, space, spec)


def _check_template(stored: Mapping[str, Any], given: DictConfig) -> None:
    """Check that prompts are rendered as they were in the run; runs made before a setting existed lack its key."""
    for name, default in (("system_prompt", None), ("system_as_user", False), ("template_kwargs", {})):
        in_run, here = stored.get(name, default), given.get(name, default)
        if here != in_run:
            words = [json.dumps(value, ensure_ascii=False, default=dict) for value in (in_run, here)]
            raise ValueError(f"model.{name} is {words[1]}, and was {words[0]} in the run: give what the run had.")


def _in_words(source: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name} {setting}" for name, setting in source.items() if name != "_target_")
    return f"{str(source['_target_']).rpartition('.')[2]}: {settings}"


def _vector_names(run: RunFiles, values: list[str]) -> tuple[str, ...]:
    """Name the run's vectors: those of values in the order of the values, then the others (one a preference weight)."""
    names = vector_names(run.folder / "adapters")
    if not names:
        raise ValueError(f"{run.folder} has no vectors in adapters/: the run has not trained any yet.")
    return tuple(sorted(names, key=lambda name: (values.index(name) if name in values else len(values), name)))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
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
