"""What the tests of the apps share."""

import logging
import sys

import pytest


def start_app(app, *words):
    """Start an app with these words, as from a shell; returns its exit status."""
    before, sys.argv = sys.argv, [f"mva-{app.__name__.rpartition('.')[2]}", *map(str, words)]
    try:
        app.main()
    except SystemExit as ended:
        return ended.code or 0
    finally:
        sys.argv = before
        for handler in logging.getLogger().handlers:
            handler.close()  # Hydra leaves its log file open
    return 0


@pytest.fixture(scope="session")
def start():
    return start_app
