"""Every option of every group composes and assembles; every command that the documents quote is a valid one."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mva.apps import assemble
from mva.apps.command import conf_folder

ROOT = Path(__file__).parents[2]
CONF = conf_folder()
OPTIONS = sorted(str(path.relative_to(CONF).with_suffix("")) for path in CONF.rglob("*.yaml") if path.parent != CONF)
# What an option needs beside itself: the values that its data has, the settings that it leaves open.
NEEDS = {
    "data/truthfulqa": ["value=honest_informative"],
    "data/skywork_hub": ["value.names=[helpful]"],
    "data/tulu3_hub": ["value.names=[helpful]"],
    "data/helpsteer2_hub": ["value.names=[helpful]"],
    "data/ultrafeedback_hub": ["value.names=[helpful]"],
    "data/files": ["data.values.helpful.train.paths=[a.jsonl]", "data.values.harmless.train.paths=[b.jsonl]"],
    "engine/vllm": ["engine.servers=[http://127.0.0.1:8000]"],
    "model/local": ["model.source.path=folder"],
    "value/honest_informative": ["data=truthfulqa"],
    "composition/average": ["policy=merged"],
    "composition/dare": ["policy=merged"],
    "composition/ties": ["policy=merged"],
    "composition/log_probs": ["policy=mixture"],
    "policy/mixture": ["composition=log_probs"],
    "search/listed": ["search.candidates=[{helpful: 1, harmless: 0.5}]"],
    "reward/sequence_classifier": ["reward.path=x", "reward.template=chat", "reward.label=0", "reward.sign=1"],
    "experiment/paper_beavertails": ["rewards.helpful.path=a", "rewards.harmless.path=b"],
}
COMMANDS = [
    (path.name, line.split("#")[0].strip())
    for path in (ROOT / "README.md", ROOT / "experiments" / "README.md", *sorted((CONF / "experiment").glob("*.yaml")))
    if path.exists()
    for line in re.findall(
        r"^(?:    |# |# On a small machine: )(mva(?:-train|-explore)?(?: .*)?)$", path.read_text(), re.MULTILINE
    )
]


def assembled(overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=overrides)
    OmegaConf.resolve(config)
    return assemble.experiment(config), assemble.build(config.tracking)


@pytest.mark.parametrize("option", [o for o in OPTIONS if not o.startswith("hydra/")])
def test_every_option_composes_and_assembles(option):
    group, name = option.split("/", 1)
    assembled([f"{group}={name}", *NEEDS.get(option, [])])


@pytest.mark.parametrize(
    "option", [o for o in OPTIONS if not o.startswith(("hydra/", "method/", "experiment/", "debug/"))]
)
def test_every_key_of_every_option_is_explained_by_a_comment(option):
    lines = (CONF / f"{option}.yaml").read_text().splitlines()
    assert lines[0].startswith("#"), "the file does not open with what it is"
    for above, line in pairwise(lines):
        if re.match(r"^[a-z]\w*:", line) and not line.startswith(("defaults:", "_target_:")):
            # An overlay changes keys that are explained where they come from.
            assert above.lstrip().startswith("#") or "defaults:" in lines, line


@pytest.mark.parametrize(("source", "command"), COMMANDS, ids=[f"{s}:{c[:60]}" for s, c in COMMANDS])
def test_every_quoted_command_composes(source, command):
    # A multirun's comma is tried with its first choice.
    words = [re.sub(r"=([^\[{,]+),.*$", r"=\1", word) for word in shlex.split(command)[1:] if word != "-m"]
    assembled([word for word in words if not word.startswith("run=")])
