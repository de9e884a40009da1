"""A sweep of 100 jobs with 500 candidates each is a page that opens."""

import json
import shutil
import time

import numpy as np
import pytest

from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front
from mva.records import write_json
from mva.report.sweep_page import write_sweep
from mva.runs.sweep_folder import Outcome

pytestmark = [pytest.mark.browser, pytest.mark.slow]
N_JOBS, N_CANDIDATES = 100, 500
MOST_BYTES = 8_000_000
MOST_SECONDS = {2: 5.0, 3: 10.0}  # a matrix of scatters has a panel for each pair of values


def record_job(folder, template, number, values):
    """A job whose candidates no other job has: sampled coefficients, scores that trade the values off, one response each."""
    shutil.copytree(template, folder)
    rng = np.random.default_rng(number)
    rows = {"candidates": [], "generations": []}
    scored = []
    for omega in rng.uniform(0, 1, (N_CANDIDATES, len(values))):
        candidate = Candidate(dict(zip(values, omega.tolist(), strict=True)))
        noise = rng.normal(0, 0.05, len(values))
        scores = dict(zip(values, (1.4 * omega - 0.4 * omega.sum() + noise).tolist(), strict=True))
        errors = dict(zip(values, rng.uniform(0.05, 0.1, len(values)).tolist(), strict=True))
        scored.append(ScoredCandidate(candidate, scores, errors, 24))
        common = {"schema_version": 1, "id": candidate.id, "split": "validation", "key": "k"}
        about = {"coefficients": candidate.coefficients, "composition": "linear", "n_prompts": 24, "seconds": 1.0}
        rows["candidates"].append({**common, **about, "scores": scores, "standard_errors": errors})
        prompt = [{"role": "user", "content": f"What shall I do about the {number}th report?"}]
        answer = {"prompt_id": "p", "prompt": prompt, "response": f"You could {'try again, ' * 30}", "rewards": scores}
        rows["generations"].append({**common, **answer})
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    write_json(folder / "front.json", select_front(scored, values=values).to_json())
    overrides = [
        f"penalty.strength={number // 10}",
        f"estimator={'hsic' if number % 2 else 'correlation'}",
        f"seed={number}",
    ]
    Outcome("run", number, overrides, state="finished").write(folder)


@pytest.fixture(
    scope="module", params=[("helpful", "harmless"), ("helpful", "harmless", "honest")], ids=["2 values", "3 values"]
)
def sweep(request, make_run_folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("large")
    template = make_run_folder(home / "template", len(request.param))
    for number in range(N_JOBS):
        record_job(home / "sweep" / f"job {number}", template, number, request.param)
    write_sweep(home / "sweep")
    yield home / "sweep", MOST_SECONDS[len(request.param)]
    shutil.rmtree(home)


def test_the_page_is_small_and_opens_soon_with_every_candidate(sweep, browser):
    folder, most_seconds = sweep
    path = folder / "report.html"
    size = path.stat().st_size
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    start = time.monotonic()
    page.goto(path.as_uri())
    page.wait_for_selector(".js-plotly-plot .main-svg, .js-plotly-plot canvas", state="attached")
    seconds = time.monotonic() - start
    figures = f"{size / 1e6:.2f} MB, opened in {seconds:.1f} s"
    points = page.evaluate(
        "document.querySelector('.js-plotly-plot').data.filter(t => t.ids).reduce((sum, t) => sum + new Set(t.ids).size, 0)"
    )
    assert points == N_JOBS * N_CANDIDATES
    assert size < MOST_BYTES, figures
    assert seconds < most_seconds, figures
    page.get_by_role("combobox", name="seed").select_option("7")
    page.wait_for_function("document.getElementById('shown').textContent.startsWith('1 of 100')")
    page.close()
