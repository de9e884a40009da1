"""`mva-judge` as a command, offline and against an endpoint on this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hydra import compose, initialize_config_dir

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.data.preference import user_prompt
from mva.evaluation.json_lines import JsonLines
from mva.evaluation.ledger import Generation, Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.judging.endpoint import Endpoint
from mva.judging.rewards import Rewards
from mva.pareto.front import select_front
from mva.records import write_json

BASE, ONE = Candidate({"helpful": 0.0, "brief": 0.0}), Candidate({"helpful": 1.0, "brief": 1.0})
KEY = "sk-very-secret"
N = 12


@pytest.fixture
def make_run(tmp_path):
    """A run of a base and one point: the point's answers say "good" and lose in brevity; one equals the base's."""

    def make(name, *, reward_key="k"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text("seed: 0\n")
        ledger, scored = Ledger(folder), []
        for candidate, helpful in ((BASE, 0.0), (ONE, 1.0)):
            scores = {"helpful": helpful, "brief": -helpful / 2}
            scored.append(ScoredCandidate(candidate, scores, dict.fromkeys(scores, 0.1), N, "validation", 1.0))
            for k in range(N):
                text = "the same" if k == 0 else f"{'good' if helpful else 'bad'} {k}"
                rewards = dict.fromkeys(scores, 0.0) if k == 0 else scores
                ledger.add_generations([Generation(candidate.id, user_prompt(f"Q{k}"), text, rewards, "test")], key="k")
        ledger.add_scored(scored, key="k")
        write_json(folder / "front.json", select_front(scored[1:], values=["helpful", "brief"]).to_json())
        front = json.loads((folder / "front.json").read_text())
        base = {"id": BASE.id, "scores": dict(scored[0].scores), "scores_held_out": None}
        write_json(folder / "front.json", {**front, "base": base})
        reward = {"key": reward_key, "accuracy": 0.9, "low": 0.8, "high": 0.95, "n_pairs": 40}
        rewards = dict.fromkeys(("helpful", "brief"), reward)
        write_json(folder / "rewards.json", {"schema_version": 1, "rewards": rewards})
        return folder

    return make


@pytest.fixture
def server():
    """Prefers the answer with "good" in it for `helpful`, and the first answer for anything else."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            allowed = self.headers.get("Authorization") == f"Bearer {KEY}"
            text = asked[-1]["messages"][1]["content"]
            first = text.split("first answer]\n")[1].startswith("good") or "Criterion: brief" in text
            content = json.dumps({"winner": "first" if first else "second"})
            reply = json.dumps({"choices": [{"message": {"content": content}}]} if allowed else {}).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield (
        asked,
        {
            "MVA_JUDGE_URL": f"http://127.0.0.1:{http.server_address[1]}/v1",
            "MVA_JUDGE_MODEL": "judge-1",
            "MVA_JUDGE_KEY": KEY,
            "NO_PROXY": "127.0.0.1",
        },
    )
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def judge(in_process):
    def run(folder, *words, **environment):
        own = [f"run={folder}", f"hydra.run.dir={folder.parent / 'hydra'}"]
        return in_process("judge", *own, *words, cwd=folder.parent, COLUMNS="160", **environment)

    return run


def results(folder):
    record = json.loads((folder / "judgement.json").read_text())
    return record, {line["value"]: line for line in record["results"]}


def test_offline_the_runs_own_rewards_judge(judge, make_run):
    folder = make_run("run")
    ended = judge(folder)
    assert ended.returncode == 0, ended.stderr
    record, by_value = results(folder)
    assert record["schema_version"] == 1
    assert record["judge"] == {"kind": "rewards"}
    helpful, brief = by_value["helpful"], by_value["brief"]
    # 11 of 12 won and one tied: (11 + 1/2) / 12; brevity the other way round.
    assert helpful["win_rate"] == pytest.approx(11.5 / 12)
    assert (helpful["candidate"], helpful["opponent"], helpful["finding"]) == (ONE.id, BASE.id, "better")
    assert (brief["wins"], brief["ties"], brief["losses"], brief["finding"]) == (0, 1, 11, "worse")
    assert "Win rate against the base" in ended.stdout
    assert "96% (" in ended.stdout
    assert not (folder / "timings.json").exists()


def test_an_endpoint_judges_once_and_its_bias_is_told(judge, make_run, server):
    folder, (asked, environment) = make_run("run"), server
    dry = judge(folder, "judge=endpoint", "judge.dry_run=true", "judge.price_per_million_tokens=1000", **environment)
    assert dry.returncode == 0, dry.stderr
    assert "24 pairs; 44 requests still to be made" in dry.stderr
    assert "at 1000 a million" in dry.stderr
    assert (asked, (folder / "judgement.json").exists()) == ([], False)
    ended = judge(folder, "judge=endpoint", **environment)
    assert ended.returncode == 0, ended.stderr
    record, by_value = results(folder)
    assert len(asked) == 44
    assert (by_value["helpful"]["wins"], by_value["helpful"]["identical"]) == (11, 1)
    # Of brevity the judge knows places alone: all ties, and half of all pairs disagree.
    assert (by_value["brief"]["ties"], by_value["brief"]["finding"]) == (12, "undecided, needs about 80 prompts")
    assert record["position_bias"] == {"disagreeing": 0.5, "first_wins": 0.75}
    assert "disagree on 50% of pairs; the first place won 75%" in ended.stdout
    again = judge(folder, "judge=endpoint", **environment)
    assert again.returncode == 0, again.stderr
    assert "nothing is to be asked" in again.stderr
    assert len(asked) == 44
    said = dry.stderr + ended.stderr + ended.stdout + again.stderr
    files = [path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()]
    assert KEY not in said
    assert not any(KEY.encode() in content for content in files)


def test_a_wrong_key_ends_in_one_sentence(judge, make_run, server):
    folder, (asked, environment) = make_run("run"), server
    ended = judge(folder, "judge=endpoint", **{**environment, "MVA_JUDGE_KEY": "sk-wrong"})
    assert ended.returncode == 2
    assert "127.0.0.1 refuses the key (HTTP 401): set MVA_JUDGE_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "sk-wrong" not in ended.stderr
    assert len(asked) <= 16  # those under way
    assert list(JsonLines(folder / "judge_answers.jsonl").read()) == []


def test_another_run_is_the_opponent_where_the_rewards_are_the_same(judge, make_run):
    folder, other = make_run("run"), make_run("other")
    ended = judge(folder, f"judge.against={other}", f"judge.against_candidate={BASE.id}")
    assert ended.returncode == 0, ended.stderr
    record, by_value = results(folder)
    assert record["against"] == str(other)
    assert by_value["helpful"]["wins"] == 11
    strange = make_run("strange", reward_key="another")
    refused = judge(folder, f"judge.against={strange}")
    assert refused.returncode == 2
    assert "have other rewards of 'helpful', whose numbers don't compare" in refused.stderr


def test_both_judges_are_configured_by_their_files():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        configs = [compose("config", overrides=[f"judge={name}"]).judge for name in ("rewards", "endpoint")]
    assert [type(assemble.build(config.by)) for config in configs] == [Rewards, Endpoint]
    assert [config.against for config in configs] == ["base", "base"]
