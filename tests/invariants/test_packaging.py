"""What wheel and sdist have to bring."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_licence_is_whole_and_ships_in_wheel_and_sdist():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "4. Redistribution" in text
    assert "END OF TERMS AND CONDITIONS" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["license-files"] == ["LICENSE"]
    assert "LICENSE" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_every_constraint_is_an_exact_version():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 40
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


@pytest.mark.parametrize("status", [0, 1])
def test_make_audit_asks_about_each_pinned_package_and_fails_where_it_gets_no_answer(tmp_path, status):
    program = tmp_path / "audit" / "bin" / "pip-audit"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\nexit {status}\n')
    program.chmod(0o755)
    (tmp_path / ".audit").touch()
    done = subprocess.run(["make", "audit", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode == 0) == (status == 0)
    words = (tmp_path / "words").read_text().split()
    assert words[words.index("--requirement") + 1] == "constraints.txt"
    assert "--strict" in words, "without it, a package that the index knows nothing of passes"
