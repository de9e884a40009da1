from dataclasses import asdict

from mva.pareto.surface import SurfaceFit, SurfaceRecord

RECORD = SurfaceRecord(
    fits={"helpful": SurfaceFit(0.4, used=True, worth=3.0), "harmless": SurfaceFit(0.001, used=False, worth=1.0)},
    scores={"a": {"helpful": 0.5}},
    standard_errors={"a": {"helpful": 0.1}},
)


def test_a_record_is_read_as_it_was_written():
    assert SurfaceRecord.from_json(asdict(RECORD)) == RECORD


def test_what_a_later_version_adds_is_let_through():
    record = asdict(RECORD)
    record["fits"]["helpful"]["later"] = 1
    assert SurfaceRecord.from_json(record) == RECORD
