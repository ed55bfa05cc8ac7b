"""Whether an agent that is loaded to play episodes is compiled for it."""

from __future__ import annotations

from dataclasses import replace

from worldplan.agent.agent import Agent
from worldplan.agent.learning.compiling import Compile, obstacle
from worldplan.agent.training.compiled.switching import switch

# Compiling a decision takes more than a minute of a core, and saves 2 or 3 ms of each decision in
# each episode. How long episodes last is known afterwards.
_PAYS = 100_000


def compile_to_play(agent: Agent, compile_: Compile, decisions: int) -> bool:
    """Compiles the agent where so many decisions pay for it; returns whether.

    Args:
        compile_: of its run. What was not to be compiled is not.
        decisions: in all episodes together, at most.
    """
    if compile_ == "off" or decisions < _PAYS or obstacle():
        return False
    switch(agent, replace(agent.execution, compiled=True))
    return True
