"""What is shown of a run, and its folder: shared by the commands and `worldplan.train`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from worldplan.agent.config.names import folder_name
from worldplan.agent.config.texts import visible
from worldplan.agent.evaluation.shown import shown
from worldplan.agent.evaluation.ticking import Ticking


class Terminal(Console):
    """Shows texts as they are: no markup is read in them, and no control character acts."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **{**how, "markup": False, "emoji": False})

    def headed(self, head: str, rest: str) -> None:
        """Prints a line that begins in bold."""
        self.print(head, style="bold", end="")
        self.print(rest)

    @contextmanager
    def at_work(self) -> Iterator[Callable[[str], None]]:
        """Shows a line that what is given replaces, as long as the work goes on.

        Where a line cannot be replaced, the latest one is printed now and then.
        """
        if self.is_interactive:
            with self.status("") as status:
                yield lambda line: status.update(Text(visible(line)))
            return
        said = deque([""], maxlen=1)
        with Ticking(lambda: self.print(said[0])):
            yield said.append

    def evaluation(self, result: Any, sums: dict[str, Any]) -> None:
        """Prints an evaluation, and its statistics."""
        low, high = sums["ci95"]
        mean, iqm, std = (shown(sums[name]) for name in ("mean", "iqm", "std"))
        returns = " ".join(f"{shown(r)}" for r in result.returns)
        self.print(
            f"{result.actor}: mean return {mean}  "
            f"(95% interval {shown(low)} to {shown(high)}, IQM {iqm}, std {std}, "
            f"{len(result.returns)} held-out episodes, {np.mean(result.lengths):.0f} steps each, "
            f"{1e3 * result.seconds / max(1, result.lengths.max()):.1f} ms a decision for all)"
        )
        self.print(f"returns: {returns}")


@contextmanager
def new_run_dir(config: Any) -> Iterator[Path]:
    """The folder of a new run. No other process gets the same one by default.

    Nothing is left of it if the run is refused within.

    Raises:
        FileExistsError: it holds a run already.
    """
    from worldplan.agent.training.disk.run_folder import give_back, holds_run, reserve

    name = folder_name(config.task, str(config.seed), f"{datetime.now():%m%d-%H%M%S}")
    if config.run_dir is None:
        run_dir = reserve(Path("runs") / name)
        try:
            yield run_dir
        except BaseException:
            give_back(run_dir)
            raise
        return
    run_dir = config.run_dir
    if holds_run(run_dir):
        resume = f"resume it by `worldplan train --resume {run_dir}`, or "
        if (run_dir / "fit.csv").exists():
            resume = ""  # a fit cannot be resumed
        raise FileExistsError(f"{run_dir} already holds a run; {resume}choose another run_dir")
    yield run_dir
