"""Whatever a stranger's records say, in whichever place, the pages show it and run nothing of it."""

import json

import pytest

from mva.report.page import write_report
from mva.report.sweep_page import write_sweep
from mva.runs.sweep_folder import Outcome

pytestmark = pytest.mark.browser
RUNS = "window.broken=1"
EVIL = [
    f"<script>{RUNS}</script>",
    f"</script><script>{RUNS}</script>",
    f'"onload="{RUNS}" onfocus="{RUNS}" autofocus="',
    f"'><img src=x onerror={RUNS}>",
    f"<!--<script>{RUNS}//",
    f"</title></style></textarea><svg onload={RUNS}>",
    f"`${{{RUNS}}}` {{{{ {RUNS} }}}} {{% raw %}}",
    f"\u2028{RUNS}\u2029{RUNS}//",
    f"<a href=javascript:{RUNS}>x</a>]]>&lt;script&gt;",
]
EVERYTHING = " ".join(EVIL)
# What may be a name (without a slash or a line break): all that an id of a readable record can be.
EVIL_NAMES = [f"<script>{RUNS}<-script>", *(text for text in EVIL if not set(text) & set("/\\\u2028"))]
# What a record is found by, and what its shape fixes.
FIXED = {"split", "role", "key", "prompt_id", "composition", "kind", "schema_version", "select_by", "scored_by"}


def evil_name(number):
    return f"{number} {EVIL_NAMES[number % len(EVIL_NAMES)]}"


def poisoned(node, ids, key=""):
    """The record with EVERYTHING behind every text, and an evil name in place of every candidate's id."""
    if isinstance(node, dict):
        return {name: poisoned(part, ids, name) for name, part in node.items()}
    if isinstance(node, list):
        return [poisoned(part, ids, key) for part in node]
    if not isinstance(node, str) or key in FIXED or key in {"values", "first", "second"}:
        return node
    return f"{EVERYTHING} {node}" if key != "id" else ids.setdefault(node, evil_name(len(ids)))


def poison(folder):
    """Poison every record of a run's folder, and what a failed candidate said; gives the ids."""
    ids = {}
    for path in sorted(folder.glob("*.json")):
        path.write_text(json.dumps(poisoned(json.loads(path.read_text()), ids)))
    for name in ("candidates", "generations"):
        path = folder / f"{name}.jsonl"
        lines = [poisoned(json.loads(line), ids) for line in path.read_text().splitlines()]
        if name == "candidates":
            line = {name: lines[0][name] for name in ("schema_version", "split", "coefficients", "composition", "key")}
            lines.append({**line, "id": "failed", "failed": EVERYTHING})
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (folder / "config.yaml").write_text(f"note: {json.dumps(EVERYTHING)}\n")
    return list(ids.values())


@pytest.fixture
def opened(browser):
    """Open a page; at the end nothing of a stranger ran, nothing was asked of the network and nothing broke."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))

    def open_page(path):
        page.goto(path.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg, .js-plotly-plot canvas", state="attached")
        return page

    yield open_page
    assert page.evaluate("window.broken") is None
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()


def hover_over_everything(page):
    page.evaluate("""() => document.querySelectorAll('.js-plotly-plot').forEach((plot) =>
        plot.data.forEach((trace, curveNumber) => {
          if (trace.type === 'scatter' && trace.customdata) Plotly.Fx.hover(plot, [{curveNumber, pointNumber: 0}]);
        }))""")
    page.wait_for_timeout(200)


@pytest.mark.parametrize("n_values", [2, 3, 5])
def test_a_runs_page_shows_every_text_and_runs_none(opened, make_run_folder, tmp_path, n_values):
    folder = make_run_folder(tmp_path / f"run {EVIL[0].replace('/', '-')} {EVIL[3]}", n_values)
    ids = poison(folder)
    page = opened(write_report(folder, forms=[]))
    hover_over_everything(page)
    for button in page.locator("button[data-candidate]").all()[:3]:
        button.click()
        assert button.get_attribute("data-candidate") in ids
        assert page.locator("#chosen pre").inner_text().startswith("mva-export ")
    body = page.content()
    assert "&lt;script&gt;window.broken=1&lt;/script&gt;" in body
    assert page.locator("img[src=x], svg[onload], [onfocus], a[href^=javascript]").count() == 0


@pytest.mark.parametrize("n_values", [1, 2, 3, 5])
def test_a_sweeps_page_shows_every_text_and_runs_none(opened, make_run_folder, tmp_path, n_values):
    sweep = tmp_path / "sweep"
    for number in range(4):
        folder = make_run_folder(sweep / f"job {number} {EVIL[3]}", n_values)
        poison(folder)
        overrides = [f"key {EVERYTHING}={number % 2} {EVERYTHING}", f"seed={number}"]
        Outcome("run", number, overrides, state="finished").write(folder)
    broken = sweep / "failed"
    broken.mkdir()
    Outcome("run", 9, [f"seed={EVERYTHING}"], state="failed", error=EVERYTHING).write(broken)
    write_sweep(sweep)
    page = opened(sweep / "report.html")
    hover_over_everything(page)
    figure = page.locator(".js-plotly-plot").last
    figure.evaluate("p => p.emit('plotly_click', {points: [{curveNumber: 0, pointNumber: 0}]})")
    assert page.locator("#chosen pre").inner_text().startswith("mva-export ")
    assert page.locator("#chosen a").get_attribute("href").startswith("job%20")
    for box in page.locator("input[type=checkbox]").all()[:2]:
        box.uncheck()
    assert page.locator("img[src=x], svg[onload], [onfocus], a[href^=javascript]").count() == 0
