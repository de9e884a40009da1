import json

from mva.analysis.front_view import front_view
from mva.report.chooser import chooser
from mva.report.page import write_report
from mva.runs.run_folder import read_run


def test_every_candidate_has_its_scores_command_and_responses(run_folder):
    run = read_run(run_folder)
    view = front_view(run)
    data = chooser(run, view)
    assert {c["id"]: c["scores"] for c in data["candidates"]} == {c.id: c.scores for c in view.candidates}
    assert all(c["command"].endswith(f"candidate={c['id']}") for c in data["candidates"])
    base = next(c for c in data["candidates"] if c["id"] == data["base"])
    assert base["label"] == "base"
    for entry in data["prompts"]:
        assert set(entry["responses"]) == {c["id"] for c in data["candidates"]}
    recorded = {
        (g["id"], g["prompt"][-1]["content"]): g["response"] for g in run.generations if g["split"] == "validation"
    }
    first = data["prompts"][0]
    assert all(answer["text"] == recorded[c, first["prompt"]] for c, answer in first["responses"].items())


def test_the_data_in_the_page_cannot_end_its_script(tmp_path, make_run_folder):
    page = write_report(
        make_run_folder(tmp_path / "run", 2, text="</script><script>window.broken = 1</script>"), forms=[]
    )
    island = page.read_text().split('id="chooser-data">')[1].split("</script>")[0]
    assert "</script>" in json.loads(island)["prompts"][0]["prompt"]
