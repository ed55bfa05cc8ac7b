"""`python -m worldplan`: the `worldplan` command."""

import sys


def main() -> None:
    """Entry point of the command. Ctrl-C while it is still being imported is one line too."""
    try:
        from worldplan.agent.commands.main import main as commands
    except KeyboardInterrupt:
        sys.exit("worldplan: stopped")
    commands()


if __name__ == "__main__":
    main()
