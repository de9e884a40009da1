"""`select` on the command line: what it recommends, what it refuses, and that it is no part of a run."""

import json

import pytest
import yaml
from hydra import compose, initialize_config_dir

from mva.apps import assemble, report
from mva.apps.command import conf_folder
from mva.apps.dotted import with_dotted_names
from mva.apps.run_folder import identity
from mva.checks import BadSetting
from mva.runs.sweep_folder import Outcome

# Scores of the made-up run are omega_i - 0.4 of the others, alike on every prompt: the best gain in helpful is 1.
LIMITED = ["select.most=harmless", "select.limits.helpful=95%"]


def composed(*words):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=list(words))


@pytest.fixture
def folder(tmp_path, make_run_folder):
    """A made-up run with 12 held-out prompts in place of 3."""
    folder = make_run_folder(tmp_path / "run", 2, text="plain")
    path = folder / "generations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    more = [{**line, "prompt_id": f"{line['prompt_id']}{k}"} for line in lines for k in range(4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in more))
    return folder


def said(capsys, folder, *words):
    vars(report.main)["__wrapped__"](composed(f"run={folder}", "report.forms=[]", *words))
    return " ".join(capsys.readouterr().out.split())


def test_terminal_and_page_recommend_under_limits(folder, capsys):
    printed = said(capsys, folder, *LIMITED)
    assert "keeps the limits (95% of the best gain in helpful) with 95% confidence on 12 held-out prompts" in printed
    page = (folder / "report.html").read_text()
    assert "Limits on held-out prompts" in page
    assert page.index("keeps the limits") < page.index("<h2>Front</h2>")
    assert "helpful 1" in page[: page.index("<h2>Front</h2>")]


def test_where_nothing_keeps_them_one_sentence_names_the_nearest(folder, capsys):
    printed = said(capsys, folder, "select.limits.words=1")
    assert "No candidate keeps the limits (words at most 1)" in printed
    assert "the nearest is" in printed
    assert "Nothing keeps the limits with confidence." in (folder / "report.html").read_text()


def test_the_runs_own_selection_counts_where_the_command_has_none(folder, capsys):
    assert "keeps the limits" not in said(capsys, folder)
    stored = {"select": {"most": "harmless", "limits": {"helpful": "95%"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    assert "95% of the best gain" in said(capsys, folder)
    assert "80% of the best gain" in said(capsys, folder, "select.limits.helpful=80%")


def test_names_that_the_run_lacks_are_refused(folder, capsys):
    with pytest.raises(BadSetting, match=r"select\.limits\.honest names neither"):
        said(capsys, folder, "select.limits.honest=1")


def test_a_sweep_has_no_one_candidate(folder, capsys):
    Outcome("run", 0, ["seed=0"], "hash", "finished", 300.0, 1.0).write(folder)
    with pytest.raises(ValueError, match="candidates of one run"):
        said(capsys, folder.parent, *LIMITED)


def test_it_is_no_part_of_a_runs_identity():
    assert identity(composed(*LIMITED)) == identity(composed())


def test_names_with_dots_are_whole():
    joined = with_dotted_names(composed("select.limits.gpt4.1=95%"))
    assert dict(joined.select.limits) == {"gpt4.1": "95%"}


def test_a_whole_configuration_takes_it():
    made = assemble.experiment(composed("debug=smoke"))
    selected = assemble.selected(composed("debug=smoke", *LIMITED), made)
    assert selected.most == "harmless"
    assert [(limit.name, limit.kind, limit.bound) for limit in selected.limits] == [("helpful", "gain", 0.95)]
