import pytest
import torch

from mva.data.preference import user_prompt
from mva.rewards.length import Length

PROMPTS = [user_prompt("?")] * 3
RESPONSES = ["", "one two", " one\ntwo  three four "]


def test_words_are_counted_with_the_sign():
    assert Length().score(PROMPTS, RESPONSES).tolist() == [0, 2, 4]
    assert Length(sign=-1).score(PROMPTS, RESPONSES).tolist() == [0, -2, -4]


def test_a_target_is_best_where_it_is_met():
    assert torch.equal(Length(target=3).score(PROMPTS, RESPONSES), torch.tensor([-3.0, -1.0, -1.0]).double())


def test_the_key_tells_the_rule():
    assert len({Length().key, Length(sign=-1).key, Length(target=3).key, Length(target=4).key}) == 4
    assert Length(sign=-1, target=3).key == Length(target=3).key


@pytest.mark.parametrize(("setting", "name"), [({"sign": 0}, "sign"), ({"target": -1.0}, "target")])
def test_senseless_settings_are_refused(setting, name):
    with pytest.raises(ValueError, match=f"^{name} is"):
        Length(**setting)
