"""The one way of the data (docs/architecture.md), read off the imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mva"
ORDER = [
    "data", "models", "estimators", "objectives", "training", "composition", "policies", "extrapolation", "pareto",
    "statistics", "search", "rewards", "engines", "evaluation", "tracking", "judging", "runs", "analysis", "report", "serving", "experiment", "preflight", "diagnostics", "pipeline", "apps",
]  # fmt: skip
FOUNDATION = {
    "checks",
    "counter_noise",
    "fingerprint",
    "folders",
    "names",
    "seeding",
    "shapes",
    "records",
    "stages",
    "terminal",
    "shell",
}
HOMES = {
    "hydra": ["apps"],
    "omegaconf": ["apps"],
    "pytorch_lightning": ["training", "data/datamodule.py"],
    "wandb": ["tracking"],
    "moocore": ["pareto"],
    "matplotlib": ["report", "tracking/tensorboard.py"],
    "plotly": ["report", "serving"],
}
# Classes that a configuration names, and what a command imports only once its task starts.
IMPORTS_BY_NAME = {f"apps/{name}.py" for name in ("components", "targets", "door", "command", "data")}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_what_stands_to_its_left(path):
    layer = layer_of(path)
    if layer == "__init__":
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "mva" or len(parts) == 1:
            continue
        target = parts[1]
        if target in FOUNDATION:
            continue
        assert layer not in FOUNDATION, f"{layer} is a foundation and may import no layer, but imports {module}"
        assert ORDER.index(target) <= ORDER.index(layer), f"{name_of(path)} imports {module}, which stands to its right"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_are_imported_only_in_their_homes(path):
    for module in imports(path):
        homes = HOMES.get(module.split(".")[0])
        if homes is not None:
            assert any(name_of(path).startswith(home) for home in homes), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", [*MODULES, *(ROOT / "experiments").glob("*.py")], ids=lambda path: path.name)
def test_only_the_console_that_escapes_control_characters_is_used(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in {"rich", "rich.console"}:
            names = {alias.name for alias in node.names}
            assert not names & {"Console", "get_console", "print"}, "import Console from mva.terminal"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_hides_inside_a_function(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{name_of(path)}:{inner[0].lineno} imports inside {node.name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_configurations_and_the_commands_door_import_by_name(path):
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    if called & {"importlib.import_module", "import_module", "__import__", "get_method", "get_class", "get_object"}:
        assert name_of(path) in IMPORTS_BY_NAME


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_named_after_nothing(path):
    assert path.stem not in {"utils", "helpers", "common", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_longer_than_two_hundred_and_fifty_lines(path):
    assert len(path.read_text().splitlines()) <= 250
