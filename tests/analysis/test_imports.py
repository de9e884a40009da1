"""What a run means is worked out without a library that draws it: scripts and servers that need numbers stay light."""

import subprocess
import sys

IMPORT_ALL = """
import importlib, pkgutil, sys
import mva.analysis, mva.runs
for package in (mva.analysis, mva.runs):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(*sorted({"matplotlib", "plotly", "torch"} & sys.modules.keys()))
"""


def test_neither_matplotlib_nor_plotly_is_imported():
    found = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
