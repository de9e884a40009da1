"""Every data config reads the rows of the data set that it is named after."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mva.apps.assemble import build
from mva.apps.command import conf_folder
from mva.data.loading import DataSettings
from mva.data.sources.base import Row

SHARED = Path(os.environ.get("MVA_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no folder MVA_SHARED_DATA")
CONFIGS = sorted(path.stem for path in (conf_folder() / "data").glob("*.yaml"))

# Rows as the data sets hold them on the hub (their columns, not their texts).
TRANSCRIPTS = {
    "chosen": "\n\nHuman: Why?\n\nAssistant: better",
    "rejected": "\n\nHuman: Why?\n\nAssistant: worse",
}
SAFETY = {
    "prompt": "Why?",
    "response_0": "more helpful",
    "response_1": "safer",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "better_response_id": 0,
    "safer_response_id": 1,
}
STRENGTH = {
    "split": "train",
    "prompt": "Why?",
    "response_1": "better",
    "response_2": "worse",
    "preference_strength": -2,
}
DIALOGUES = {
    "prompt": "Why?",
    "prompt_id": "0",
    "chosen": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "better"}],
    "rejected": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "worse"}],
    "score_chosen": 8.0,
    "score_rejected": 7.5,
}
HUB = [
    ("hh_rlhf_hub", "helpful", TRANSCRIPTS, ("better", "worse")),
    ("hh_rlhf_hub", "harmless", TRANSCRIPTS, ("better", "worse")),
    ("pku_saferlhf_hub", "helpful", SAFETY, ("more helpful", "safer")),
    ("pku_saferlhf_hub", "harmless", SAFETY, ("safer", "more helpful")),
    ("beavertails_hub", "helpful", SAFETY, ("more helpful", "safer")),
    ("beavertails_hub", "harmless", SAFETY, ("safer", "more helpful")),
    ("helpsteer2_hub", "helpful", STRENGTH, ("better", "worse")),
    ("ultrafeedback_hub", "helpful", DIALOGUES, ("better", "worse")),
    (
        "skywork_hub",
        "helpful",
        {"source": "x", **{k: DIALOGUES[k] for k in ("chosen", "rejected")}},
        ("better", "worse"),
    ),
    ("tulu3_hub", "helpful", {"id": "x", "source": "y", **DIALOGUES}, ("better", "worse")),
]


def settings(name, paths="anything.jsonl"):
    config = OmegaConf.load(conf_folder() / "data" / f"{name}.yaml")
    for value in config["values"].values():
        if OmegaConf.is_missing(value.train, "paths"):
            value.train.paths = paths
    return DataSettings(**build(config))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_data_config_makes_settings(name):
    assert settings(name).values


@pytest.mark.parametrize(("name", "value", "fields", "expected"), HUB)
def test_a_hub_row_becomes_the_pair_that_its_columns_mean(name, value, fields, expected):
    (pair,) = settings(name).values[value].format.pairs(Row("hub:0", fields))
    assert pair.prompt[-1].content == "Why?"
    assert (pair.chosen, pair.rejected) == expected


def test_every_hub_config_is_tested_on_a_row():
    assert {name for name, *_ in HUB} == {name for name in CONFIGS if name.endswith("_hub")}


def test_the_bundled_data_loads_for_five_values():
    names = ["helpful", "harmless", "honest", "brief", "detailed"]
    data, reports = settings("bundled").load(names)
    assert list(data) == names
    assert (reports["brief"].longer_is_chosen, reports["detailed"].longer_is_chosen) == (0, 1)


def test_own_files_need_nothing_but_their_path(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,chosen,rejected\n" + "".join(f"question {n},x,y\n" for n in range(100)))
    data, _ = settings("files", paths=str(path)).load(["helpful", "harmless"])
    assert sum(len(pairs) for _, pairs in data["helpful"].splits()) == 100


@needs_shared
@pytest.mark.parametrize(("name", "n_test"), [("hh", 1000), ("truthfulqa", 900)])
def test_the_shared_folder_loads(name, n_test, monkeypatch):
    monkeypatch.setenv("MVA_SHARED_DATA", str(SHARED))
    offered = settings(name)
    data, _ = offered.load(list(offered.values))
    assert {len(value.train) for value in data.values()} == {1000}
    assert {len(value.test) for value in data.values()} == {n_test}
