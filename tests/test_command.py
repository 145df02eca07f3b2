"""The command `prernn`: it finds its sub-commands, and help fits on two screens."""

import dataclasses
import subprocess
import sys

import pytest

from prernn_jax import command
from prernn_jax.errors import InputError

COMMANDS = {
    "train action", "train face", "train gesture", "tables", "fuse", "gates", "memory", "port",
    "prepare", "check", "show", "budget", "predict", "export", "page", "demo",
}  # fmt: skip


def lines_of(capsys, *argv):
    with pytest.raises(SystemExit) as left:
        command.run_command(command.dispatch, argv)
    assert left.value.code in (0, None)
    return capsys.readouterr().out.splitlines()


def test_the_overview_names_every_command_and_what_it_does(capsys):
    lines = lines_of(capsys)
    listed = [line for line in lines if line.startswith("  ")]
    assert {line[2:17].strip() for line in listed} >= COMMANDS
    for line in listed:
        assert len(line[18:]) > 10, f"{line}: the command's module has no summary"
    trained = lines_of(capsys, "train")
    assert {line[2:17].strip() for line in trained if line.startswith("  ")} == {
        "train action", "train face", "train gesture"
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_says_prernn_and_fits_on_two_screens(capsys, name):
    lines = lines_of(capsys, *name.split(), "--help")
    assert lines[0].startswith(f"usage: prernn {name}")
    assert len(lines) <= 80


@pytest.mark.parametrize("name", ["action", "face", "gesture"])
def test_all_options_are_one_flag_away(capsys, name):
    short = lines_of(capsys, "train", name, "--help")
    assert any("--help-all" in line for line in short)
    assert not any("--embedded." in line for line in short)
    everything = "\n".join(lines_of(capsys, "train", name, "--help-all"))
    for flag in ("--embedded.", "--schedule.base", "--pretraining.", "--momentum", "--verbose"):
        assert flag in everything


@pytest.mark.parametrize("argv", [["trian"], ["train", "actions"], ["train", "--stream=spatial"]])
def test_an_unknown_command_is_named(argv):
    with pytest.raises(InputError, match=f"prernn {' '.join(argv)}: no such command"):
        command.dispatch(argv)


def test_a_program_starts_without_pytorch():
    """TensorBoard's package would import it wherever it is installed, which takes seconds."""
    code = "import sys, train.face.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version():
    shown = subprocess.run(
        [sys.executable, "-m", "prernn_jax.command", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.startswith("prernn-jax ")


def test_statuses():
    def faulty(argv):
        raise InputError(f"{argv}: no")

    for main, status in ((faulty, 2), (lambda argv: 3, 3), (lambda argv: None, None)):
        with pytest.raises(SystemExit) as left:
            command.run_command(main, [])
        assert left.value.code == status


def test_a_renamed_flag_works_and_says_its_name(capsys):
    @dataclasses.dataclass(frozen=True)
    class Config:
        """Flags.

        Attributes:
            source: A folder.
        """

        source: str = ""

    for argv in (["--data_dir=x"], ["--data-dir", "x"], ["--source=x"]):
        found = command.parse(
            Config, argv, program="p", description="d", renamed={"data_dir": "source"}
        )
        assert found.source == "x"
        assert ("is called --source now" in capsys.readouterr().err) == (argv[0] != "--source=x")
