"""What was mirrored into TensorBoard, read back by TensorBoard's own reader."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imsave
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from mva.tracking.base import RunIdentity
from mva.tracking.tensorboard import TensorBoard

CONFIG = {"seed": 0, "penalty": {"strength": 10.0, "view": None}, "value": {"names": ["helpful", "harmless"]}}


@pytest.fixture
def run(tmp_path):
    return RunIdentity(tmp_path, tmp_path.name, "sweep", "run", CONFIG)


def read_back(run):
    return EventAccumulator(str(run.folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()


def fail_in(run):
    with TensorBoard().start(run) as tracker:
        tracker.log({"loss": math.pi}, 3)
        raise RuntimeError("on purpose")


def text(events, name):
    (event,) = events.Tensors(f"{name}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def test_scalars_are_read_back_at_their_steps(run):
    with TensorBoard().start(run) as tracker:
        for step, loss in ((1, 0.75), (2, 0.5), (5, 0.25)):
            tracker.log({"train/helpful/loss": loss, "train/harmless/loss": 2 * loss}, step)
    events = read_back(run)
    assert [(e.step, e.value) for e in events.Scalars("train/helpful/loss")] == [(1, 0.75), (2, 0.5), (5, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("train/harmless/loss")] == [(1, 1.5), (2, 1.0), (5, 0.5)]


def test_a_table_is_a_text_whose_cells_can_not_break_out(run):
    with TensorBoard().start(run) as tracker:
        tracker.table("responses", ["id", "response"], [["abc", "one | two\nthree"]])
    assert text(read_back(run), "responses") == "| id | response |\n| --- | --- |\n| abc | one \\| two<br>three |"


def test_a_figure_is_an_image_of_its_size(run):
    imsave(run.folder / "front.png", np.zeros((7, 5, 3)))
    with TensorBoard().start(run) as tracker:
        tracker.figure("front", run.folder / "front.png")
    (image,) = read_back(run).Images("front")
    assert (image.height, image.width) == (7, 5)


def test_the_config_is_a_text_and_its_settings_stand_beside_the_results(run):
    with TensorBoard().start(run) as tracker:
        tracker.summary({"hypervolume": 1.0})
        tracker.summary({"hypervolume": 1.25, "note": "said", "held_out": None})
    events = read_back(run)
    config = text(events, "config")
    assert json.loads(config) == CONFIG  # indented by four: TensorBoard shows it as code
    assert all(line.startswith("    ") for line in config.splitlines())
    assert "| note | said |" in text(events, "results")
    assert events.Scalars("result/hypervolume")[0].value == 1.25
    assert "result/held_out" not in events.Tags()["scalars"]
    session = plugin_data_pb2.HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    ).session_start_info
    settings = {
        name: setting.WhichOneof("kind") and getattr(setting, setting.WhichOneof("kind"))
        for name, setting in session.hparams.items()
    }
    assert settings == {
        "seed": 0, "penalty.strength": 10.0, "penalty.view": "null", "value.names": '["helpful", "harmless"]',
    }  # fmt: skip


def test_a_run_that_goes_on_does_not_say_things_twice(run):
    for losses in ((0.75,), (0.75, 0.5)):
        with TensorBoard().start(run) as tracker:
            for step, loss in enumerate(losses, start=1):
                tracker.log({"loss": loss}, step)
    assert [(e.step, e.value) for e in read_back(run).Scalars("loss")] == [(1, 0.75), (2, 0.5)]


def test_what_was_recorded_before_a_failure_is_kept(run):
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_in(run)
    (loss,) = read_back(run).Scalars("loss")
    assert (loss.step, loss.value) == (3, pytest.approx(math.pi))


def test_without_the_package_one_sentence_says_how_to_get_it():
    script = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'tensorboard' else real(name, *rest)\n"
        "from mva.tracking.tensorboard import TensorBoard\n"
        "assert 'torch.utils.tensorboard' not in sys.modules\n"
        "TensorBoard()"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stderr.splitlines()[-1] == (
        'ValueError: tracking=tensorboard needs the package tensorboard: pip install "mva[tensorboard]"'
    )
