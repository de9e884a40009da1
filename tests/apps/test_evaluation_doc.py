"""docs/evaluation.md: its commands compose, and the numbers that it states are the code's."""

import re

import pytest
from hydra import compose, initialize_config_dir

from mva.analysis.pair_agreement import FEWEST, HIGH
from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.evaluation.by_pairs import BLOCK
from mva.statistics.rewards import MINIMUM_PROMPTS

TEXT = (conf_folder().parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (mva.*?)(?:\s+#.*)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_compose_and_assemble(command, tmp_path):
    words = [word for word in command.split()[1:] if not word.startswith("run=")]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", [*words, f"paths.cache={tmp_path}"])
    assert assemble.experiment(config).evaluation.by in ("pairs", "both")


def test_the_rule_s_numbers_are_the_code_s():
    assert f"the interval lies above {HIGH}" in TEXT
    assert FEWEST == 3
    assert "among its members (three or more)" in TEXT
    assert f"fewer than {MINIMUM_PROMPTS} prompts" in TEXT
    assert f"in blocks of {BLOCK}" in TEXT


def test_the_defaults_are_the_configuration_s():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        evaluation = compose("config").evaluation
    assert (evaluation.by, evaluation.n_pairs, evaluation.pair_beta) == ("responses", 300, None)
    assert f"instead of {evaluation.n_pairs} a value" in TEXT
