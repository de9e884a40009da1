"""Python's collector of cycles, which would look at hundreds of thousands of pairs again and again while they grow."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Pause the collector where many objects are made that stay, and hardly any cycles: a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
