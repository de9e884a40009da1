"""Short forms of the simulation behind docs/statistics.md."""

import sys

import pytest


@pytest.fixture
def surfaces(script):
    return script("surface_scores")


def world(surfaces, name):
    return next(world for world in surfaces.ROWS if world.setting.name == name)


def test_the_surface_is_nearer_where_it_fits_and_off_where_it_does_not(surfaces):
    smooth = surfaces.simulate(world(surfaces, "24 prompts"), 30)
    assert smooth["as if"] > 2
    assert smooth["lost used"] < smooth["lost raw"]
    assert smooth["off"] < 0.15
    fallen = surfaces.simulate(world(surfaces, "24 prompts, texts fall apart beyond 2 (49 candidates)"), 10)
    assert fallen["off"] > 0.9
    assert fallen["used"] == pytest.approx(fallen["raw"], rel=0.05)


def test_the_page_has_a_row_for_every_setting(surfaces):
    page = surfaces.DOCS.read_text()
    table = page.partition(surfaces.BEGIN)[2].partition(surfaces.END)[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert rows[1:] == [row.setting.name for row in surfaces.ROWS]


def test_the_table_is_written_between_its_marks(surfaces, tmp_path, monkeypatch):
    page = tmp_path / "statistics.md"
    page.write_text(f"before\n{surfaces.BEGIN}\nyesterday\n{surfaces.END}\nafter\n")
    monkeypatch.setattr(surfaces, "DOCS", page)
    monkeypatch.setattr(sys, "argv", ["x", "--tables", "3", "--only", "24 prompts, 9 candidates", "--write"])
    surfaces.main()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| 24 prompts, 9 candidates | 0." in text
    assert "yesterday" not in text
