"""The sweep page in a real browser: filters and figures of two, three and five values."""

import pytest

from mva.report.sweep_page import write_sweep
from mva.runs.sweep_folder import Outcome

pytestmark = pytest.mark.browser
EVIL = "<script>window.broken=1</script>"
CANDIDATES = {("hsic", "0"): 11, ("hsic", "1"): 12, (EVIL, "0"): 13, (EVIL, "1"): 14}
POINTS = "p => p.data.filter(t => t.customdata && t.name !== 'front over all jobs' && t.visible !== false)"
COUNT = f"p => ({POINTS})(p).reduce((sum, t) => sum + (t.x || t.dimensions[0].values).length, 0)"
FIGURES = {2: ["scatter"], 3: ["scatter3d", "splom"], 5: ["parcoords", "splom"]}


@pytest.fixture(scope="module", params=[2, 3, 5])
def opened(request, browser, make_run_folder, tmp_path_factory):
    """The page of four jobs, opened from disk, with what the browser complained of and asked the network for."""
    sweep = tmp_path_factory.mktemp("sweep")
    for number, ((estimator, seed), n_candidates) in enumerate(CANDIDATES.items()):
        folder = sweep / f"job {number}"
        make_run_folder(folder, request.param, n_candidates=n_candidates)
        overrides = ["debug=smoke", f"estimator={estimator}", f"seed={seed}"]
        Outcome("run", number, overrides, state="finished").write(folder)
    write_sweep(sweep)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((sweep / "report.html").as_uri())
    page.wait_for_selector(".js-plotly-plot .main-svg, .js-plotly-plot canvas", state="attached")
    yield page, complaints, requests, request.param
    page.close()


@pytest.fixture
def page(opened):
    page, complaints, _, _ = opened
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.getElementById('shown').textContent.startsWith('4 of 4')")
    yield page
    assert complaints == []


def box(page, name):
    return page.get_by_role("checkbox", name=name, exact=True)


def shown(page):
    """What the status line says, the rows to be seen, and the number of points in each figure."""
    counts = [plot.evaluate(COUNT) for plot in page.locator(".js-plotly-plot").all()]
    return page.locator("#shown").inner_text(), page.locator("tr[data-job]:visible").count(), set(counts)


def test_it_opens_from_disk_with_no_request_and_draws_every_candidate(opened, page):
    _, _, requests, n_values = opened
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.locator(".js-plotly-plot").evaluate_all("all => all.map(p => p.data[0].type)") == FIGURES[n_values]
    assert shown(page) == ("4 of 4 jobs shown", 4, {11 + 12 + 13 + 14})


def test_boxes_choose_jobs_in_the_figures_and_in_the_table(page):
    box(page, "1").uncheck()
    assert shown(page) == ("2 of 4 jobs shown", 2, {11 + 13})
    box(page, "hsic").uncheck()
    assert shown(page) == ("1 of 4 jobs shown", 1, {13})
    box(page, "0").uncheck()
    assert shown(page) == ("0 of 4 jobs shown", 0, {0})
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.getElementById('shown').textContent.startsWith('4 of 4')")
    assert shown(page) == ("4 of 4 jobs shown", 4, {11 + 12 + 13 + 14})


def test_the_keyboard_filters_and_the_front_over_all_jobs_stays(opened, page):
    line = "p => p.data.filter(t => !t.customdata).map(t => [t.name, t.x.length])"
    before = page.locator(".js-plotly-plot").first.evaluate(line)
    box(page, "hsic").focus()
    page.keyboard.press("Space")
    assert shown(page) == ("2 of 4 jobs shown", 2, {13 + 14})
    assert page.locator("#shown").get_attribute("aria-live") == "polite"
    assert page.locator(".js-plotly-plot").first.evaluate(line) == before
    assert [name for name, _ in before] == (["front over all jobs"] if opened[3] == 2 else [])


def test_an_override_is_text_and_the_page_fits_a_phone(page):
    assert page.evaluate("window.broken") is None
    assert box(page, EVIL).count() == 1
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= 390", timeout=10_000)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_many_settings_are_a_list_to_choose_from(browser, make_run_folder, tmp_path):
    for number in range(10):
        make_run_folder(tmp_path / str(number), 1, n_candidates=4)
        Outcome("run", number, [f"penalty.strength={number}"], state="finished").write(tmp_path / str(number))
    write_sweep(tmp_path)
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.get_by_role("combobox", name="penalty.strength").select_option("7")
    assert shown(page) == ("1 of 10 jobs shown", 1, {4})
    page.close()


def test_a_click_on_a_point_shows_its_command_and_leads_to_its_responses(opened, page):
    figures = page.locator(".js-plotly-plot")
    kinds = figures.evaluate_all("all => all.map(p => p.data[0].type)")
    plot = figures.nth(1 if kinds[0] == "parcoords" else 0)  # lines of parallel coordinates can't be clicked
    job, candidate = plot.evaluate("p => [p.data[0].customdata[2], p.data[0].ids[2].split(' ')[0]]")
    plot.evaluate("p => p.emit('plotly_click', {points: [{curveNumber: 0, pointNumber: 2}]})")
    said = page.locator("#chosen").inner_text()
    assert f"candidate={candidate}" in said
    assert candidate in said.split("mva-export")[0]
    link = page.locator("#chosen a").evaluate("a => decodeURIComponent(a.href)")
    assert link.endswith(f"/{job}/report.html#{candidate}")
    assert page.evaluate("window.broken") is None


def test_the_sliders_choose_the_best_candidate_of_the_jobs_shown(opened, page):
    figure = page.locator(".js-plotly-plot").last
    best = """(p, axis) => Math.max(...p.data.filter(t => t.ids && t.visible !== false).flatMap(
        t => t.dimensions ? t.dimensions[axis].values : [t.x, t.y, t.z][axis]))"""
    for only in ("hsic", EVIL):
        other = EVIL if only == "hsic" else "hsic"
        box(page, only).check()
        box(page, other).uncheck()
        sliders = page.locator(".preferences input").all()
        assert len(sliders) == opened[3]
        for axis in range(opened[3]):
            for number, slider in enumerate(sliders):
                slider.fill("100" if number == axis else "0")
            said = page.locator("#chosen").inner_text()
            assert f"estimator={only}" in said
            assert f"{figure.evaluate(best, axis):.3f} ±" in said
            shares = page.locator(".preferences output").all_inner_texts()
            assert shares == ["100 %" if number == axis else "0 %" for number in range(opened[3])]
