"""The dial in a real browser, served by `mva-serve` itself on an address of this machine."""

import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
TOKENS = 200
# Two steps a value, and a length as reward: a run of SmolLM2 in the time that its answers take.
QUICK = [
    "debug=smoke", "model=smollm2", "tracking=local", "report.forms=[]", "search=one_hot", "reward=length",
    "plan=independent", "estimator=none", "penalty.baseline=false", "trainer.execution.validation_pairs=2",
    "trainer.recipe.steps=2", "trainer.recipe.batch_size=2",
    "evaluation.n_validation_prompts=2", "evaluation.n_test_prompts=2", "evaluation.generation.temperature=0",
]  # fmt: skip
SCRIPT = "<script>window.broken = true</script><img src=x onerror='window.broken = true'>"
# Where the ring is drawn.
RING = "p => [p.data[3].x[0], p.data[3].y[0]]"


@pytest.fixture(scope="module")
def url(make_run_with_vectors, serve_run, tmp_path_factory):
    """The address of the dial of a tiny model, whose run is called what a browser could take for markup."""
    folder = make_run_with_vectors(tmp_path_factory.mktemp("dial") / "<img src=x onerror=window.broken=1>")
    with serve_run(folder, "model=tiny_llama", f"serve.max_new_tokens={TOKENS}") as (_, address):
        yield address


@pytest.fixture
def page(browser, url):
    """The page just opened; at the end the browser has complained of nothing and asked nobody but the server."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    expect(page.locator("#figure .main-svg").first).to_be_attached()
    yield page
    assert page.evaluate("window.broken") is None
    page.close()
    assert [text for text in complaints if "400 (Bad Request)" not in text] == []  # a refused question, as it should be
    assert [one for one in requests if not one.startswith((url, "data:", "blob:"))] == []


@pytest.fixture
def candidates(page):
    return page.evaluate("JSON.parse(document.getElementById('data').textContent).front.candidates")


def set_dial(page, **coefficients):
    for name, omega in coefficients.items():
        slider = page.get_by_label(f"Coefficient of {name}")
        slider.fill(str(omega))
        slider.dispatch_event("change")


def dial(page):
    return [float(text) for text in page.locator("#sliders output").all_inner_texts()]


def ask(page, prompt="Hi"):
    page.get_by_role("textbox", name="Prompt").fill(prompt)
    page.get_by_role("button", name="Answer").click()


def answers(page):
    """Wait for the end, then give base's and candidate's words."""
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^\d+ tokens, [\d.]+ s: done\.$"), timeout=60_000)
    return [page.locator(f"#{name} div").inner_text() for name in ("base", "candidate")]


def test_a_slider_moves_the_ring_to_the_nearest_candidate_and_names_it(page, candidates):
    figure = page.locator("#figure")
    for wanted in ({"helpful": 0.98, "harmless": 0.03}, {"helpful": 0.01, "harmless": 0.97}):
        set_dial(page, **wanted)
        near = min(candidates, key=lambda c: sum((c["coefficients"][v] - wanted[v]) ** 2 for v in wanted))
        assert dial(page) == list(wanted.values())
        assert figure.evaluate(RING) == [near["scores"]["helpful"], near["scores"]["harmless"]]
        said = page.locator("#nearest").inner_text()
        assert said.startswith(f"Nearest scored candidate (the dial's own position was not scored): {near['label']};")
        assert f"helpful {near['scores']['helpful']:.2f} ± {1.96 * near['errors']['helpful']:.2f}" in said


def test_base_and_candidate_answer_side_by_side(page):
    set_dial(page, helpful=1, harmless=0.5)
    ask(page)
    base, candidate = answers(page)
    assert base
    assert candidate
    assert base != candidate
    assert page.locator("#candidate small").inner_text() == "helpful 1, harmless 0.5"


def test_answers_grow_while_they_are_spoken(page):
    page.evaluate("""() => {
        window.seen = [];
        const div = document.querySelector('#base div');
        new MutationObserver(() => window.seen.push(div.textContent)).observe(div, {childList: true});
    }""")
    ask(page)
    base, _ = answers(page)
    seen = page.evaluate("window.seen.filter(Boolean)")
    assert len(set(seen)) > 2
    assert seen[-1] == base
    assert all(base.startswith(text.rstrip("\ufffd")) for text in seen)


def test_all_coefficients_zero_make_the_candidate_the_base(page):
    set_dial(page, helpful=0, harmless=0)
    ask(page)
    base, candidate = answers(page)
    assert base == candidate != ""
    assert "The dial stands on a scored candidate: base;" in page.locator("#nearest").inner_text()


def test_a_moved_dial_is_answered_at_once_where_that_is_asked_for(page):
    set_dial(page, helpful=1, harmless=0)
    ask(page)
    base, before = answers(page)
    page.get_by_label("answer again when the dial moves").uncheck()
    set_dial(page, harmless=1)
    page.wait_for_timeout(600)
    assert page.locator("#candidate small").inner_text() == "helpful 1, harmless 0"
    page.get_by_label("answer again when the dial moves").check()
    with page.expect_response("**/api/answer"):
        set_dial(page, harmless=0.9)
    again, after = answers(page)
    assert page.locator("#candidate small").inner_text() == "helpful 1, harmless 0.9"
    assert again == base
    assert after != before


def test_choosing_a_candidate_of_the_front_sets_the_sliders_to_all_its_digits(page, candidates):
    one = next(c for c in candidates if c["on_front"] and c["kind"] == "front")
    page.get_by_label("Set the dial to a candidate of the front").select_option(one["id"])
    assert dial(page) == [one["coefficients"]["helpful"], one["coefficients"]["harmless"]]
    assert page.locator("#nearest").inner_text().startswith(f"The dial stands on a scored candidate: {one['label']};")
    with page.expect_request("**/api/answer") as asked:
        ask(page)
    assert asked.value.post_data_json["coefficients"] == one["coefficients"]
    answers(page)


def test_a_click_on_a_point_sets_the_sliders(page, candidates):
    one = next(c for c in candidates if not c["on_front"] and c["kind"] != "base")
    where = page.locator("#figure").evaluate(
        """(p, id) => {
            const box = p.getBoundingClientRect(), trace = p.data[0], layout = p._fullLayout, k = trace.customdata.indexOf(id);
            return [box.left + layout.xaxis._offset + layout.xaxis.d2p(trace.x[k]),
                    box.top + layout.yaxis._offset + layout.yaxis.d2p(trace.y[k])];
        }""",
        one["id"],
    )
    page.mouse.move(*where)
    expect(page.locator(".hoverlayer .hovertext")).to_contain_text(one["id"])
    page.mouse.click(*where)
    expect(page.locator("#nearest")).to_contain_text(f"The dial stands on a scored candidate: {one['label']};")
    assert dial(page) == [one["coefficients"]["helpful"], one["coefficients"]["harmless"]]


def test_stop_stops_and_what_was_said_stays(page):
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_disabled()
    page.evaluate("""() => new MutationObserver((_, observer) => {
        document.getElementById('stop').click();
        observer.disconnect();
    }).observe(document.querySelector('#base div'), {childList: true, characterData: true})""")
    ask(page, "Hi")
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    expect(stop).to_be_disabled()
    expect(page.locator(".speaking")).to_have_count(0)
    page.wait_for_timeout(300)
    cut = page.locator("#base div").inner_text()
    ask(page, "Hi")
    assert len(cut) < len(answers(page)[0])


def test_a_refusal_is_shown_in_its_sentence(page):
    with page.expect_response("**/api/answer") as refused:
        ask(page, "   ")
    assert refused.value.status == 400
    expect(page.get_by_role("alert")).to_have_text("The prompt is empty: write something.")


def test_what_a_model_says_is_shown_and_not_run(page):
    line = {"base": SCRIPT, "candidate": SCRIPT, "tokens": 9, "finished": [True, True]}
    page.route("**/api/answer", lambda route: route.fulfill(body=json.dumps(line) + "\n"))
    ask(page)
    assert answers(page) == [SCRIPT, SCRIPT]
    assert page.locator("#base div *").count() == 0


def test_an_answer_that_breaks_off_is_no_answer(page):
    line = {"base": "Half", "candidate": "Half", "tokens": 1, "finished": [False, False]}
    page.route("**/api/answer", lambda route: route.fulfill(body=json.dumps(line) + "\n"))
    ask(page)
    expect(page.get_by_role("alert")).to_have_text("The server broke off before the answer's end.")
    expect(page.get_by_role("status")).to_have_text("No answer.")


def test_control_and_enter_ask(page):
    page.get_by_role("textbox", name="Prompt").fill("Hi")
    page.keyboard.press("Control+Enter")
    assert all(answers(page))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_window_with_the_longest_words_too(page, width):
    line = {"base": "x" * 2000, "candidate": "y " * 1000, "tokens": 9, "finished": [True, True]}
    page.route("**/api/answer", lambda route: route.fulfill(body=json.dumps(line) + "\n"))
    page.set_viewport_size({"width": width, "height": 800})
    ask(page)
    answers(page)
    for element in ("html", "#sliders", ".answers"):
        assert page.locator(element).first.evaluate("e => e.scrollWidth") <= width
    # Plotly follows the window's new width a moment later.
    figure = page.locator("#figure .main-svg").first.element_handle()
    page.wait_for_function("([e, width]) => e.getBoundingClientRect().right <= width", arg=[figure, width])
    # Two values need no choice of axes.
    expect(page.locator("#axes")).to_be_hidden()


@pytest.mark.slow
def test_the_dial_of_a_real_model(browser, serve_run, tmp_path):
    """SmolLM2, trained for a moment: how the vectors change its words is not judged, only that all of it works."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "mva.apps.run", *QUICK, f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True, timeout=590, cwd=tmp_path)
    with serve_run(folder, "serve.max_new_tokens=16") as (_, url):
        page = browser.new_page()
        page.goto(url)
        set_dial(page, helpful=1, harmless=1)
        ask(page, "What is the capital of France?")
        base, _ = answers(page)
        assert "Paris" in base
        set_dial(page, helpful=0, harmless=0)
        ask(page, "What is the capital of France?")
        assert answers(page) == [base, base]
        page.close()
