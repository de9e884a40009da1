"""A sweep as plain data: the content of sweep.json."""

from typing import Any

from mva.analysis.comparison import SettingRow, setting_rows
from mva.analysis.sweep_view import JointFront, SweepView
from mva.records import SCHEMA_VERSION
from mva.runs.sweep_folder import Job
from mva.statistics.estimate import Interval


def sweep_record(view: SweepView) -> dict[str, Any]:
    """Describe the sweep: its jobs, and for each set of rewards, or of pairs, the settings and the joint front."""
    return {
        "schema_version": SCHEMA_VERSION,
        "jobs": [job_record(view, job) for job in view.jobs],
        "fronts": [_front(front) for front in view.fronts],
        "fronts_by_pairs": [_front(front) for front in view.by_pairs],
    }


def job_record(view: SweepView, job: Job) -> dict[str, Any]:
    """Describe a job; what it did not find is None."""
    one, outcome = view.front_of(job), job.outcome
    return {
        "folder": job.name,
        "overrides": list(outcome.overrides),
        "label": job.label,
        "status": job.status,
        "error": outcome.error,
        "seconds": outcome.seconds,
        "objective": outcome.objective,
        "hypervolume": None if one is None else one.own_hypervolume,
        "hypervolume_common": None if one is None else one.hypervolume,
        "hypervolume_common_held_out": None if one is None else one.hypervolume_held_out,
        "candidates": None if one is None else len(one.view.candidates),
        "front_points": None if one is None else len(one.view.on_front),
        "joint_front_points": None if one is None else len(one.on_joint_front),
    }


def _front(front: JointFront) -> dict[str, Any]:
    return {
        "values": list(front.values),
        "scored_by": front.scored_by,
        "reward_keys": dict(front.reward_keys),
        "reference_point": dict(front.reference_point),
        "reference_point_rule": front.reference_point_rule,
        "hypervolume": front.hypervolume,
        "jobs": [one.job.name for one in front.jobs],
        "settings": [_setting(row) for row in setting_rows(front)],
        "points": [
            {
                "folder": one.job.name,
                "id": c.id,
                "coefficients": dict(c.coefficients),
                "scores": dict(c.scores),
                "standard_errors": dict(c.errors),
                "scores_held_out": None if c.held_out is None else dict(c.held_out),
            }
            for one, c in front.members
        ],
    }


def _setting(row: SettingRow) -> dict[str, Any]:
    compared = row.difference
    return {
        "label": row.label,
        "jobs": [one.job.name for one in row.jobs],
        "hypervolume_common": row.hypervolume,
        "hypervolume_common_held_out": None if row.held_out is None else _interval(row.held_out),
        "difference_held_out": None
        if compared is None
        else {
            **_interval(compared.interval),
            "verdict": str(compared.verdict),
            "verdict_of_all": str(compared.simultaneous),
        },
    }


def _interval(found: Interval) -> dict[str, Any]:
    return {"estimate": found.estimate, "low": found.low, "high": found.high, "raw": found.raw}
