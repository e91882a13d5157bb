import pytest

from training.__main__ import _parser, _stopped, main
from training.style.command import NETWORKS
from training.style.representation import STYLE_LAYERS


@pytest.mark.parametrize(
    ("command", "goes_on"),
    [
        ("photographs --data a", True),
        ("compose --photographs a --grounds b", False),
        ("style gatys --content a.png --style b.png", True),
        ("style cluster --images a", False),
        ("style apply --network a --images b", False),
        ("style stylise --images a --styles b --with fourier", True),
    ],
)
def test_only_what_goes_on_is_said_to_go_on(command, goes_on):
    said = _stopped(_parser().parse_args([*command.split(), "--out", "c"]))
    assert said.startswith("Stopped.")
    assert ("it goes on" in said) == goes_on


def test_a_backbone_that_there_is_not_leaves_no_run_behind(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["photographs", "--data", "a", "--backbone", "resnet51", "--out", str(tmp_path / "run")])
    assert "invalid choice: 'resnet51'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_command_line_offers_the_networks_that_style_is_read_from():
    assert set(NETWORKS) == set(STYLE_LAYERS)
