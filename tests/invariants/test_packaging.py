"""What wheel and sdist have to bring."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_licence_is_whole_and_ships_in_wheel_and_sdist():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "4. Redistribution" in text
    assert "END OF TERMS AND CONDITIONS" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["license-files"] == ["LICENSE"]
    assert "LICENSE" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
