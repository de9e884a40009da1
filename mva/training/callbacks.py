"""What happens beside training: progress is shown, and Lightning keeps to itself."""

import logging
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, Checkpoint

from mva.stages import Advance

CHECKPOINT_SECONDS = 30.0  # what a kill may undo of a training, beside the step under way


class Progress(Callback):
    """Move a progress bar on by one for every batch, from where a resumed run starts."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_train_start(self, trainer: Trainer, _module: LightningModule) -> None:
        """Count what was done before an interruption (a checkpoint is written within its batch: not yet completed)."""
        self._advance(trainer.fit_loop.epoch_loop.batch_progress.current.ready)

    def on_train_batch_end(self, *_arguments: Any, **_named: Any) -> None:
        """Count a batch."""
        self._advance(1)


class KeepCheckpoints(Checkpoint):
    """Write a checkpoint every `every` optimizer steps, and whenever `CHECKPOINT_SECONDS` have passed.

    It is written right after an optimizer step, never between accumulated batches, whose gradients no checkpoint holds.
    """

    def __init__(self, path: Path, *, every: int) -> None:
        self._path, self._every = path, every
        self._step, self._since = 0, time.monotonic()

    def on_train_start(self, trainer: Trainer, _module: LightningModule) -> None:
        """Begin to count, where an interrupted training continues from its checkpoint."""
        self._step, self._since = trainer.global_step, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *_arguments: Any, **_named: Any) -> None:
        """Write a checkpoint if one is due."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        late = time.monotonic() - self._since >= CHECKPOINT_SECONDS
        if stepped and (late or self._step % self._every == 0):
            trainer.save_checkpoint(self._path)
            self._since = time.monotonic()


@contextmanager
def ctrl_c_gets_through(trainer: Trainer) -> Iterator[None]:
    """Raise the KeyboardInterrupt that Lightning turns into a bare exit with status 1."""
    try:
        yield
    except SystemExit as stopped:
        if stopped.code != 1 or not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning left it ignored
        raise KeyboardInterrupt from stopped


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's greetings and its warnings about what is meant: a frozen base in eval mode, one epoch."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in (
                r".*module\(s\) in eval mode.*",
                r".*does not have many workers.*",
                r".*isinstance\(treespec, LeafSpec\).*",
                r".*is_gradient_checkpointing.*",
                r".*GPU available but not used.*",
                r".*Checkpoint directory .* exists and is not empty.*",
                r".*The number of training batches.*",
                r".*callbacks used to create the checkpoint need to be provided.*",  # an earlier version's own
            ):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)
