"""Texts as a terminal can show them."""

from worldplan.agent.config.texts import one_line, visible


def test_control_characters_do_not_act() -> None:
    evil = "a\x1b]0;title\x07\x1b[31m\r\x9b2J\u202egnp.exe\udcff"
    assert visible(evil).isprintable()
    assert visible("[bold]ä\nb") == "[bold]ä\nb"


def test_one_line_is_short_and_keeps_both_ends() -> None:
    assert one_line("a\n  b\r\n\tc") == "a b c"
    said = one_line("begin" + 10_000 * "x" + "end", longest=100)
    assert len(said) <= 100
    assert said.startswith("begin")
    assert said.endswith("end")
