"""docs/methods.md: every method is in the table, and every option quoted there composes."""

import re

import pytest
from hydra import compose, initialize_config_dir

from mva.apps import assemble
from mva.apps.command import conf_folder

TEXT = (conf_folder().parent / "docs" / "methods.md").read_text(encoding="utf-8")
ROWS = {line.split("|")[1].strip(" `"): line for line in TEXT.splitlines() if line.startswith("| `")}


def test_every_method_is_in_the_table_and_nothing_else():
    assert set(ROWS) == {path.stem for path in (conf_folder() / "method").glob("*.yaml")}


@pytest.mark.parametrize("method", ROWS)
def test_the_quoted_options_compose_and_assemble(method, tmp_path):
    quoted = re.findall(r"`([^`]*=[^`]*)`", ROWS[method].split("|")[5])
    words = [word for options in quoted for word in options.split()]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", [f"method={method}", f"paths.cache={tmp_path}", *words])
    assemble.experiment(config)


def test_the_objective_s_option_composes(tmp_path):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", ["objective=ipo", "objective.average=false", f"paths.cache={tmp_path}"])
    assert not assemble.experiment(config).objective.length_normalised
