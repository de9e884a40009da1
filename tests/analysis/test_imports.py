"""What a run means is worked out without a library that draws it: scripts and servers that need numbers stay light."""

import subprocess
import sys

IMPORT_ALL = """
import importlib, pkgutil, sys
import mva.analysis
for module in pkgutil.iter_modules(mva.analysis.__path__, "mva.analysis."):
    importlib.import_module(module.name)
print(*sorted({"matplotlib", "plotly", "torch"} & sys.modules.keys()))
"""


def test_neither_what_draws_nor_torch_is_imported():
    found = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
