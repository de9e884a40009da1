"""Two jobs that need the same vector: trained once, with the same bytes in both."""

import subprocess
import sys


def test_two_processes_that_race_for_a_vector_train_it_once(tmp_path):
    words = ["debug=smoke", "value.names=[helpful]", "paths.cache=cache", "trainer.recipe.steps=60", "tracking=local"]
    command = [sys.executable, "-m", "mva.apps.train", *words]
    jobs = [
        subprocess.Popen([*command, f"hydra.run.dir=run{k}"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for k in range(2)
    ]
    said = [job.communicate(timeout=300)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    assert sum("Training, helpful" in text for text in said) == 1
    first, second = (
        (tmp_path / f"run{k}" / "adapters" / "helpful" / "adapter_model.safetensors").read_bytes() for k in range(2)
    )
    assert first == second
    assert not list((tmp_path / "cache" / "unfinished").glob("*"))
