"""`python -m worldplan`: the `worldplan` command."""

from worldplan.agent.commands.main import main

main()
