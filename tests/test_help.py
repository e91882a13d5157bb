"""What the commands say about themselves."""

import re

import pytest

import run
from annotator.__main__ import main as annotator_main
from training.__main__ import main as training_main

PAGES = [
    *((annotator_main, name) for name in ("", "serve", "demo", "explain", "undo", "fetch", "descriptor")),
    *((training_main, name) for name in ("", "photographs", "artworks", "adversarial", "compose", "inspect")),
    *((training_main, name) for name in ("evaluate", "style", "style cluster", "style gatys", "style train-fast")),
    *((training_main, name) for name in ("style apply", "style stylise")),
]


@pytest.mark.parametrize(("main", "command"), PAGES)
def test_each_command_says_what_it_does_and_what_each_option_is(main, command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert re.match(r"usage: [^\n]*\n\n[A-Z][^\n]*\.\n\n", text)
    for option in text.split("\n  -")[1:]:
        assert re.search(r"(  |\n) *\w", option)
    assert "%%" not in text


def test_the_job_s_help_is_shown_by_either_name(monkeypatch, capsys):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # ours are for the process of a job
    assert run.main(["--help"]) == run.main(["-h"]) == 0
    assert capsys.readouterr().out.count("--scheduler") == 2
