"""Runs commands as a user would."""

from typer.testing import CliRunner

from worldplan.agent.commands.main import app


def run(*words: object, code: int = 0) -> str:
    """The output of a command, which must exit with `code`."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output
