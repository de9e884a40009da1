import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.apps.targets import ForbiddenTarget
from mva.models.lora import LoraSpec


@pytest.fixture
def config(request):
    overrides = getattr(request, "param", [])
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=["paths.outputs=outputs", *overrides])


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "pathlib.Path",
        "builtins.eval",
        "mva.models.adapter_files.Path",  # a re-export under an allowed name
        "mva.models.lora.attach",  # a function
        "mva.evaluation.evaluator._finite",
        "mva.no.such.Thing",
        "mva.models.lora.NoSuchThing",
        "nodots",
    ],
)
def test_a_config_may_name_only_public_classes_of_mva(target):
    with pytest.raises(ForbiddenTarget):
        assemble.build(OmegaConf.create({"_target_": target}))


def test_a_forbidden_target_is_found_however_deep_it_hides():
    node = OmegaConf.create({"a": [{"b": {"_target_": "os.system", "command": "true"}}]})
    with pytest.raises(ForbiddenTarget, match=r"os\.system"):
        assemble.build(node)


def test_a_plug_in_package_is_allowed_by_name(monkeypatch):
    node = OmegaConf.create({"_target_": "fractions.Fraction", "numerator": 3})
    with pytest.raises(ForbiddenTarget, match="MVA_PLUGINS"):
        assemble.build(node)
    monkeypatch.setenv("MVA_PLUGINS", "fractions")
    assert assemble.build(node) == 3


def test_the_default_experiment_is_what_the_configuration_says(config):
    experiment = assemble.experiment(config)
    assert experiment.values == ("helpful", "harmless")
    assert experiment.adapter == LoraSpec(rank=16, alpha=32.0)
    assert experiment.space.composition == experiment.composition.name
    assert experiment.rewards["helpful"] is experiment.rewards["harmless"]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (["value.names=[helpful,kind]"], "kind"),
        (["value.names=[]"], "not empty"),
        (["value.names=[helpful,helpful]"], "each"),
        (["penalty.strength=-1"], r"penalty\.strength is -1"),
        (["extrapolation.maximum=0"], r"extrapolation\.minimum"),
        (["adapter.rank=0"], r"adapter\.rank is 0"),
        (["trainer.recipe.steps=0"], r"trainer\.recipe\.steps is 0"),
        (["+rewards.kind.path=x"], r"\['kind'\]"),
        (["data.on_bad_row=ignore"], "on_bad_row"),
    ],
    indirect=["config"],
)
def test_a_setting_that_makes_no_sense_is_refused_before_a_model_is_loaded(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        assemble.experiment(config)


@pytest.mark.parametrize(
    "config",
    [["data=files", "value.names=[helpful]", "data.values.helpful.train.paths=[x.jsonl]"]],
    indirect=True,
)
def test_what_unused_values_lack_is_nobodys_business(config):
    assert list(assemble.experiment(config).data.values) == ["helpful"]


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (["data=files", "value.names=[helpful]"], r"data\.values\.helpful\.train\.paths"),
        (["model=local"], r"model\.source\.path"),
        (["reward=sequence_classifier"], r"reward\.label, reward\.path, reward\.sign, reward\.template"),
        (["experiment=paper_beavertails"], r"rewards\.helpful\.path"),
    ],
    indirect=["config"],
)
def test_what_the_configuration_leaves_open_is_named_in_full(config, key):
    with pytest.raises(ValueError, match=f"leaves open {key}:"):
        assemble.experiment(config)
