"""Which Python the virtual environments are made of."""

from pathlib import Path

import pytest

import bootstrap
from bootstrap import Python


def python(name: str, seconds: float, *, ensurepip: bool = True, pip: bool = True) -> Python:
    return Python(name, (name, "11"), ensurepip, pip, seconds)


def test_the_first_stays_unless_another_is_clearly_quicker() -> None:
    """Noise must not decide what a user runs: only a build that is really better is worth a surprise."""
    first = python("first", 1.0)
    assert first == bootstrap.choose([first, python("alike", 0.95)], True)
    quicker = python("quicker", 0.7)
    assert quicker == bootstrap.choose([first, python("alike", 0.95), quicker], True)


def test_one_without_a_way_to_pip_is_passed_over() -> None:
    """Debian parts Python from ensurepip; its environment needs the pip of another."""
    bare = python("bare", 0.5, ensurepip=False, pip=False)
    other = python("other", 1.0, pip=False)
    assert bootstrap.choose([bare], False) is None
    assert other == bootstrap.choose([bare, other], False)
    assert bare == bootstrap.choose([bare, other], True)


def test_a_named_python_without_a_way_to_pip_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with a traceback where no other Python of the machine has pip."""
    bare = python("bare", 0.5, ensurepip=False, pip=False)
    monkeypatch.setattr(bootstrap, "programs", lambda: iter(()))
    monkeypatch.setattr(bootstrap, "ask", lambda _: bare)
    with pytest.raises(SystemExit, match=r"venv and pip.*bare does not do"):
        bootstrap.main(str(tmp_path / "made"), "bare")


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nexit 0\n", "not a program\n", "#!/nowhere\n"]
)
def test_what_is_no_python_is_none(tmp_path: Path, text: str) -> None:
    """The search path may hold anything under that name, such as a version manager's shim without a version."""
    program = tmp_path / "python3"
    program.write_text(text)
    program.chmod(0o755)
    assert bootstrap.ask(str(program)) is None


def test_a_named_python_that_will_not_do_is_told_with_what_to_do(tmp_path: Path) -> None:
    """`make PYTHON=...` ends with a sentence, not with a traceback."""
    with pytest.raises(SystemExit, match=r"3\.11 or newer.*/nowhere/python3.*make PYTHON="):
        bootstrap.main(str(tmp_path / "made"), "/nowhere/python3")
