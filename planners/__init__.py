"""Planners: search for the action sequence of lowest predicted cost. They know only the cost."""

from typing import Annotated, Any

from pydantic import Field

from worldplan.planners.actions import ActionSpace, Box, Categorical
from worldplan.planners.cem import CEM, CEMConfig
from worldplan.planners.config import PlannerConfig
from worldplan.planners.gradient import Gradient, GradientConfig
from worldplan.planners.icem import ICEM, ICEMConfig
from worldplan.planners.kinds import by_kind
from worldplan.planners.mppi import MPPI, MPPIConfig
from worldplan.planners.plan import (
    ItemisedCost,
    Plan,
    PlanNoise,
    PlanState,
    PlanStats,
    TrajectoryCost,
)
from worldplan.planners.planner import Planner
from worldplan.planners.random_shooting import RandomShooting, RandomShootingConfig
from worldplan.planners.risk import RISKS, Risk, RiskMeasure

PLANNERS: dict[str, type[Planner[Any]]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "random_shooting": RandomShooting,
    "gradient": Gradient,
}

PlannerConfigUnion = Annotated[
    CEMConfig | ICEMConfig | MPPIConfig | RandomShootingConfig | GradientConfig,
    Field(discriminator="kind"),
    by_kind("planner", PLANNERS, default="mppi"),
]


def make_planner(config: PlannerConfig, actions: ActionSpace) -> Planner[Any]:
    """Makes the planner of a config, which searches the action space `actions`.

    Raises:
        ValueError: the planner follows gradients, and these actions cannot be moved along them.
    """
    planner = PLANNERS[config.kind]
    if planner.differentiates and not actions.continuous:
        others = [kind for kind, other in PLANNERS.items() if not other.differentiates]
        raise ValueError(
            f"planner.kind={config.kind} moves actions along a gradient, and these are choices; "
            f"expected planner.kind={', '.join(others[:-1])} or {others[-1]}"
        )
    return planner(config, actions)


__all__ = [
    "PLANNERS",
    "RISKS",
    "ActionSpace",
    "Box",
    "CEMConfig",
    "Categorical",
    "GradientConfig",
    "ICEMConfig",
    "ItemisedCost",
    "MPPIConfig",
    "Plan",
    "PlanNoise",
    "PlanState",
    "PlanStats",
    "Planner",
    "PlannerConfig",
    "PlannerConfigUnion",
    "RandomShootingConfig",
    "Risk",
    "RiskMeasure",
    "TrajectoryCost",
    "make_planner",
]
