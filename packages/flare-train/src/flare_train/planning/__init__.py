"""From the fingerprint of a dataset to spacing, patch, batch and net, by nnU-Net's rules.

Or to a stated budget of weights, multiply-accumulates and memory. Nothing here loads torch but the
counting of a budget.
"""

from __future__ import annotations

from flare_train.planning.budget import Budget, plan_to_budget
from flare_train.planning.plan import Configuration, Plan, make_plan
from flare_train.planning.planned_run import PlannedRun, PlanRequest, plan_run
from flare_train.planning.rules import PlanRules, plan_rules, plan_rules_names
from flare_train.planning.topology import Topology, plan_topology
from flare_train.planning.training import planned_preprocessing, planned_training

__all__ = [
    "Budget",
    "Configuration",
    "Plan",
    "PlanRequest",
    "PlanRules",
    "PlannedRun",
    "Topology",
    "make_plan",
    "plan_rules",
    "plan_rules_names",
    "plan_run",
    "plan_to_budget",
    "plan_topology",
    "planned_preprocessing",
    "planned_training",
]
