"""The default world model: a joint-embedding predictive architecture."""

from worldplan.agent.models.jepa.config import JEPAConfig
from worldplan.agent.models.jepa.model import JEPA

__all__ = ["JEPA", "JEPAConfig"]
