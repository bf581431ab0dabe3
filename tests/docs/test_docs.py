"""The documentation says what is true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.docs.parity import FOLDER, pages

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)


def test_parity_tables_are_current() -> None:
    """Each operation that is built stands in its service's table, and no other; `make docs` rewrites them."""
    expected = pages()

    assert set(expected) == {path.stem for path in FOLDER.glob("*.md")}
    for service, text in expected.items():
        assert text == (FOLDER / f"{service}.md").read_text("utf-8"), service


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """A link to a file of the repository names one that is there."""
    for target in re.findall(r"\]\(([^)#]+)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_readme_snippets_run(tmp_path: Path) -> None:
    """What the README shows with boto3 works when it is pasted."""
    snippets = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    server = Server(str(tmp_path / "data"))
    try:
        code = "\n".join(snippets).replace("http://127.0.0.1:4566", server.endpoint)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    finally:
        server.stop()

    assert "" == done.stderr
    assert 'world\nb\'{"hello": "world"}\'\n' == done.stdout


def test_every_command_is_in_the_readme() -> None:
    """A command that the README does not name is not found."""
    help_text = subprocess.run(
        [sys.executable, "-m", "penstock", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"^  (\w+) ", help_text.partition("Commands:")[2], re.MULTILINE)
    readme = (ROOT / "README.md").read_text("utf-8")

    assert {"up", "deploy", "queues", "redrive", "logs", "doctor", "demo"} == set(commands)
    for command in commands:
        assert f"`penstock {command}" in readme


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_target_is_there(document: Path) -> None:
    """The commands that somebody new pastes first are those of make."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))

    named = re.findall(r"(?:\$ |`)(?:[A-Z_]+=\S+ )?make ([a-z]+)\b", document.read_text("utf-8"))

    assert set() == set(named) - targets
