"""The report page in a real browser."""

import pytest

from mva.report.page import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=[2, 3, 5])
def opened(request, browser, make_run_folder, tmp_path_factory):
    """The page, opened from disk, with what the browser complained of and asked the network for."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(write_report(make_run_folder(tmp_path_factory.mktemp("page") / "run", request.param)).as_uri())
    page.wait_for_selector(".js-plotly-plot .main-svg, .js-plotly-plot canvas", state="attached")
    yield page, complaints, [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    page.close()


def test_the_page_opens_from_disk_with_no_error_and_no_request(opened):
    _, complaints, requests = opened
    assert complaints == []
    assert requests == []


def test_what_a_model_wrote_is_not_run(opened):
    page, _, _ = opened
    assert page.evaluate("window.broken") is None
    assert page.get_by_text("<script>window.broken = true</script>").count() > 0


def test_the_page_fits_a_phone(opened):
    page, _, _ = opened
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= 390", timeout=10_000)


def test_the_figure_has_a_point_for_every_candidate(opened):
    page, _, _ = opened
    count = """() => {
        const plot = document.querySelector('.js-plotly-plot');
        const ids = new Set(plot.data.filter(t => t.ids).flatMap(t => Array.from(t.ids)));
        return plot.data[0].type === 'parcoords' ? plot.data[0].dimensions[0].values.length : ids.size;
    }"""
    assert page.evaluate(count) == 14


def chosen(page):
    return page.locator("#chosen").inner_text()


def test_the_sliders_choose_the_best_candidate_for_a_preference(opened):
    page, complaints, _ = opened
    data = page.evaluate("JSON.parse(document.getElementById('chooser-data').textContent)")
    for wanted in data["values"]:
        for slider, value in zip(page.locator("#preferences input").all(), data["values"], strict=True):
            slider.fill("100" if value == wanted else "0")
        best = max(data["candidates"], key=lambda c: c["scores"][wanted])
        assert best["id"] in chosen(page)
        assert f"candidate={best['id']}" in chosen(page)
        assert page.locator("#preferences output").all_inner_texts() == [
            "100 %" if value == wanted else "0 %" for value in data["values"]
        ]
    assert complaints == []


def test_a_row_shows_its_candidates_responses_beside_the_bases_by_keyboard_too(opened):
    page, _, _ = opened
    button = page.locator("button[data-candidate]").first
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("data-candidate") in chosen(page)
    assert page.locator("#chosen .answers").count() == 3, "a pair of answers for each prompt"
    assert page.locator("#chosen .answer b").first.inner_text() == "base"
    assert page.evaluate("window.broken") is None


def test_a_link_to_a_candidate_opens_the_page_with_it(opened, browser):
    page, _, _ = opened
    wanted = page.evaluate("JSON.parse(document.getElementById('chooser-data').textContent).candidates[3].id")
    other = browser.new_page()
    other.goto(f"{page.url}#{wanted}")
    other.wait_for_function("id => document.getElementById('chosen').innerText.includes(id)", arg=wanted)
    other.close()


def test_a_click_on_a_point_chooses_it_and_hovering_names_it(opened):
    page, _, _ = opened
    page.set_viewport_size({"width": 1280, "height": 900})
    kinds = page.locator(".js-plotly-plot").evaluate_all("all => all.map(p => p.data[0].type)")
    number = 1 if kinds[0] == "parcoords" else 0  # its lines can't be clicked: the matrix below shows the same
    plot = page.locator(".js-plotly-plot").nth(number)
    if kinds[number] != "scatter":
        plot.evaluate("p => p.emit('plotly_click', {points: [{curveNumber: 0, pointNumber: 0}]})")
        assert plot.evaluate("p => p.data[0].ids[0].split(' ')[0]") in chosen(page)
        return
    plot.scroll_into_view_if_needed()
    # Plotly follows the window's new width a moment later, and its points move then.
    page.wait_for_function(
        "p => Math.abs(p._fullLayout.width - p.getBoundingClientRect().width) < 2", arg=plot.element_handle()
    )
    where = plot.evaluate("""p => {
        const box = p.getBoundingClientRect(), trace = p.data[0], layout = p._fullLayout;
        return [box.left + layout.xaxis._offset + layout.xaxis.d2p(trace.x[0]),
                box.top + layout.yaxis._offset + layout.yaxis.d2p(trace.y[0]), trace.ids[0].split(' ')[0]];
    }""")
    page.mouse.move(where[0], where[1])
    page.wait_for_selector(".hoverlayer .hovertext")
    assert where[2] in page.locator(".hoverlayer").first.text_content()
    page.mouse.click(where[0], where[1])
    page.wait_for_function("id => document.getElementById('chosen').innerText.includes(id)", arg=where[2])
