"""The file of a search, which survives kills: what was tried, and what came of it.

Nothing but Optuna reads and writes it. The process of the command asks for trials and tells their
outcomes; those of the trials report their evaluations (`trial.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from worldplan.agent.experiments.tune.objective import make_pruner

if TYPE_CHECKING:
    import optuna

FILE = "study.journal"


def open_study(out: Path) -> optuna.Study:
    """The search in a folder, a new one if there is none.

    Raises:
        ValueError: Optuna is not installed, or the file is damaged.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    except ImportError as error:
        raise ValueError("tune needs: pip install 'worldplan[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = str(out / FILE)
    try:
        # Locked by a file beside it, which works on shared storage too; a killed process holds it
        # for half a minute.
        backend = JournalFileBackend(file, lock_obj=JournalFileOpenLock(file))
        return optuna.create_study(
            storage=JournalStorage(backend),
            study_name="tune",
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise ValueError(f"{file} is damaged, or none of Optuna's: {error}") from error


def cut_back(out: Path) -> None:
    """Removes an unfinished line at the end of the file, as a full disk leaves it.

    No other process may write to it meanwhile.
    """
    path = out / FILE
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def make_sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    """What suggests the settings of the trial of this number.

    They depend on the seed, the number and the trials before it, and on nothing that is lost when
    a process ends.
    """
    from optuna.samplers import TPESampler

    (own,) = np.random.SeedSequence([seed, number]).generate_state(1)
    return TPESampler(seed=int(own))


def attached(study: optuna.Study, number: int) -> optuna.Trial:
    """A trial that was asked for before, maybe by another process."""
    import optuna

    plan = study.user_attrs["plan"]
    study.pruner = make_pruner(plan["pruner"], plan["evaluations"])
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
