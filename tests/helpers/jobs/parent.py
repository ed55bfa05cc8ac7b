"""Runs `waiting_job` in a pool of this machine: python -m parent FOLDER."""

import sys
from pathlib import Path

from worldplan.agent.experiments.pool.jobs import Job
from worldplan.agent.experiments.pool.local import LocalPool

folder = Path(sys.argv[1])
job = Job("job", lambda: ["waiting_job", str(folder)], folder / "log", (folder / "done").exists)
LocalPool().run([job])
