"""The tokens of the model that `mva-data` is asked about."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hydra import compose, initialize_config_dir

from mva.apps.assemble import build
from mva.apps.command import conf_folder
from mva.data.preference import PreferencePair
from mva.data.token_checks import Problems, token_problems
from mva.data.tokenization import TokenLimits
from mva.models.backbone import ModelSettings
from mva.models.sources.pretrained import Pretrained


def token_check(model: str, limits: TokenLimits) -> Callable[[Sequence[PreferencePair]], Problems]:
    """Load the tokenizer of `model` (an option of the group, a folder or a hub name), and nothing of its weights."""
    if Path(model).is_dir() or "/" in model:
        settings = ModelSettings(Pretrained(model))
    else:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            settings = build(compose("config", [f"model={model}"]).model)
    template = settings.template(settings.source.tokenizer())
    template.check()
    return partial(token_problems, template=template, limits=limits)
