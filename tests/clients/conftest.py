"""What the clients share: a Penstock that verifies their signatures, their programs, and the lines of `docs/clients.md`.

The connections that are tested are those of the documentation, taken from it as they stand; only the address and the
key pair are put in. Each client is a process of its own, in the environment that `make test` has installed for it.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import pytest

from tests.conftest import Server, make_client

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-tools"
DOCUMENT = ROOT / "docs" / "clients.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where Penstock answers, and the key pair it accepts."""

    endpoint: str
    key: str
    secret: str


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A Penstock that accepts what is signed with its root key, so that every client's signatures are put to the test."""
    server = Server(str(tmp_path_factory.mktemp("clients")), "--auth", "sigv4")
    found = re.search(
        r"AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)", server.log.read_text()
    )
    assert found is not None
    yield Account(endpoint=server.endpoint, key=found[1], secret=found[2])
    server.stop()


@pytest.fixture(scope="session")
def sqs(account: Account) -> Any:
    """The observer: a boto3 client beside the client that is tested."""
    return make_client(
        account.endpoint,
        "sqs",
        aws_access_key_id=account.key,
        aws_secret_access_key=account.secret,
    )


@pytest.fixture(scope="session")
def snippet(account: Account) -> Callable[[str, str], str]:
    """`snippet(heading, language)`: the first such code block under a heading of `docs/clients.md`, for this Penstock."""

    def find(heading: str, language: str) -> str:
        section = DOCUMENT.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
        found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
        assert found is not None, f"{heading} has no {language}"
        in_url = f"any-key:{quote(account.secret, safe='')}@".replace("any-key", account.key)
        return (
            found[1]
            .replace("any-key:any-secret@", in_url)
            .replace("any-key", account.key)
            .replace("any-secret", account.secret)
            .replace("127.0.0.1:4566", account.endpoint.removeprefix("http://"))
        )

    return find


def missing(what: str) -> NoReturn:
    """Skip, because a client is not installed; fail in CI, where all are."""
    message = f"{what} is not there: `make test` installs the clients, and JavaScript's where Node.js and npm are"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def installed(program: Path | str) -> str:
    """The program's path."""
    found = shutil.which(program)
    return found if found is not None else missing(str(program))


@pytest.fixture(scope="session")
def aws_program() -> str:
    """The AWS CLI."""
    return installed(TOOLS / "aws" / "bin" / "aws")


@pytest.fixture(scope="session")
def client_program() -> Callable[[str], str]:
    """`client_program(name)`: a program of the Python clients, `python` among them."""
    return lambda name: installed(TOOLS / "clients" / "bin" / name)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the JavaScript SDK."""
    installed("node")
    folder = TOOLS / "node" / "node_modules"
    if not folder.exists():
        missing(str(folder))
    return folder


def environment(home: Path, added: dict[str, str]) -> dict[str, str]:
    """A user's variables, with no AWS of their own configured."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_PAGER": "", **added}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """`run(command, **variables)`: what a program printed that ran in the test's folder and succeeded."""

    def start(command: Sequence[str | Path], **variables: str) -> str:
        ended = subprocess.run(
            command,
            env=environment(tmp_path, variables),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert 0 == ended.returncode, ended.stdout + ended.stderr
        return ended.stdout

    return start


@pytest.fixture
def variables(snippet: Callable[[str, str], str]) -> dict[str, str]:
    """The variables that configure every client at once."""
    words = shlex.split(snippet("For all at once", "console"))
    return dict(word.split("=", 1) for word in words if "=" in word)


class Worker:
    """A client that works until it is ended, with all the processes that it starts."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.log = folder / "worker.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=environment(folder, {}),
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End every process at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Callable[[Sequence[str]], Worker]]:
    """`work(command)`: a worker in the test's folder, ended with the test."""
    started: list[Worker] = []

    def start(command: Sequence[str]) -> Worker:
        started.append(Worker(tmp_path, command))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()


def records_in(folder: Path) -> list[int]:
    """The numbers of the jobs that were done, in the order in which they were done."""
    file = folder / "done.txt"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def records(tmp_path: Path) -> Callable[[], list[int]]:
    """`records()`: the numbers of the jobs that were done so far, in that order."""
    return partial(records_in, tmp_path)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str], Path]:
    """`put(name, text)`: a file in the test's folder."""

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.write_text(textwrap.dedent(text), "utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def depth(sqs: Any) -> Callable[[str], int]:
    """`depth(queue name)`: how many messages a queue holds, waiting, delayed or in flight."""

    def count(name: str) -> int:
        attributes = sqs.get_queue_attributes(
            QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"],
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesDelayed",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
        return sum(int(value) for value in attributes.values())

    return count
