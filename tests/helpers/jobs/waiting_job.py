"""A job: notes its process in FOLDER/started, waits for FOLDER/go, then makes FOLDER/done."""

import os
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
with (folder / "started").open("a") as file:
    file.write(f"{os.getpid()}\n")
while not (folder / "go").exists():
    time.sleep(0.05)
(folder / "done").touch()
