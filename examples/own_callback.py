"""Callbacks: keep the best agent, look at episodes, and stop when it is good enough."""

from typing import Any

from small import settings

import worldplan


class Best:
    """Saves the agent that returned most, and ends the run at a return of 900."""

    best = float("-inf")

    def on_start(self, run: Any) -> None:
        self.run = run  # its agent, config, step and folder

    def on_episode(self, event: Any) -> None:
        print(f"step {event.step}: while exploring {event.total:.0f} in {event.length} decisions")

    def on_evaluation(self, event: Any) -> bool:
        found = float(event.planner.returns.mean())
        if found > self.best:
            self.best = found
            self.run.agent.save(self.run.run_dir / "best")
        return found < 900


def curve(event: Any) -> None:
    """A plain function is told of each evaluation."""
    print(f"step {event.step}: {event.planner.returns.mean():.0f}")


callback = Best()
worldplan.train("inverted-pendulum", callbacks=[callback, curve], **settings(steps=5000))
best = worldplan.load(callback.run.run_dir / "best")
print("best:", callback.best, best.act([0.0, 0.0, 0.0, 0.0], scaled=True))
