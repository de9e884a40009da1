"""What every tracker owes."""

import plotly.graph_objects
import pytest
from matplotlib.figure import Figure

from mva.report.figures import save
from mva.tracking.base import RunIdentity
from mva.tracking.composite import Composite
from mva.tracking.local import Local
from mva.tracking.tensorboard import TensorBoard
from mva.tracking.weights_and_biases import WeightsAndBiases

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(
    params=[
        Local(),
        TensorBoard(),
        WeightsAndBiases(mode="offline"),
        Composite((Local(), WeightsAndBiases(mode="offline"))),
    ]
)
def spec(request):
    return request.param


@pytest.fixture
def run(tmp_path):
    return RunIdentity(tmp_path, "name", "group", "run", {"seed": 0})


def test_it_takes_everything_that_a_run_has_to_tell(spec, run):
    figure = save(Figure(figsize=(1, 1)), run.folder, "figure")
    page = run.folder / "page.html"
    page.write_text("<p>page</p>")
    with spec.start(run) as tracker:
        tracker.log({"train/helpful/loss": 0.5}, 1)
        tracker.table("candidates", ["id"], [["a"], ["b"]])
        tracker.figure("front", figure)
        tracker.page("report", page)
        tracker.plot("pareto_front", plotly.graph_objects.Figure())
        tracker.artifact("front", "front", [page, run.folder / "figure.png"], aliases=["seed=0/a:b"])
        tracker.summary({"hypervolume": 1.0})


def test_what_goes_wrong_inside_gets_out(spec, run):
    with pytest.raises(KeyError, match="mine"), spec.start(run):
        raise KeyError("mine")
