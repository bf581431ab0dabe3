"""The commands and their options."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

app = typer.Typer(
    name="penstock",
    help="Run asynchronous serverless applications for real, behind the AWS APIs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{text!r} is no URL; write it as http://127.0.0.1:4566")
    return text.rstrip("/")


Endpoint = Annotated[
    str, typer.Option(envvar="AWS_ENDPOINT_URL", help="Where Penstock answers.", callback=_url)
]
_STAGE: Final = re.compile(r"https://(\w+)\.execute-api\.[\w-]+\.amazonaws\.com/(\w+)/?")
_DEFAULT = "http://127.0.0.1:4566"


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from penstock import __version__

        typer.echo(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def penstock(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run asynchronous serverless applications for real, behind the AWS APIs."""


@app.command()
def up(  # noqa: PLR0913, PLR0917 - each is an option
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (4566).")] = None,
    data: Annotated[str | None, typer.Option(help="Data folder (.penstock), or :memory:.")] = None,
    auth: Annotated[str | None, typer.Option(help="off (loopback only) or sigv4.")] = None,
    region: Annotated[str | None, typer.Option(help="Region of unsigned requests.")] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(help="Functions in bubblewrap: auto (where it works), none or bwrap."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Draw identifiers from this number, to repeat a run.")
    ] = None,
) -> None:
    """Start Penstock and serve until Ctrl+C or SIGTERM."""
    from penstock.cli.up import run

    run(
        host=host,
        port=port,
        data=data,
        auth=auth,
        region=region,
        seed=seed,
        sandbox=sandbox,
    )


@app.command()
def deploy(
    template: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A SAM or CloudFormation template.")
    ],
    stack: Annotated[str, typer.Option("--stack", help="Name of the stack.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", help="Name=Value; repeat it.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and deploy code folders again as they change.")
    ] = False,
    endpoint: Endpoint = _DEFAULT,
) -> None:
    """Package the code beside a template and deploy it as a stack, showing each step."""
    from penstock.cli.deploy import DeployError, functions_of
    from penstock.cli.deploy import deploy as run
    from penstock.cli.watch import Watch
    from penstock.core.errors import PenstockError

    while True:
        with _explained(DeployError, PenstockError):
            outputs = run(template, stack, _pairs(parameter or []), endpoint, _show_event)
        _show_outputs(outputs, endpoint)
        if not watch:
            return
        with _explained(PenstockError):
            functions = functions_of(template, stack, endpoint)
            typer.echo(f"Watching {len(functions)} functions' code and {template}; Ctrl+C ends it.")
            Watch(functions, endpoint, typer.echo).run(template)


def _show_outputs(outputs: dict[str, str], endpoint: str) -> None:
    for name, value in outputs.items():
        typer.echo(f"{name} = {value}")
        stage = _STAGE.fullmatch(value)
        if stage is not None:
            typer.echo(f"  here: {endpoint}/restapis/{stage[1]}/{stage[2]}/_user_request_/")


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A function, or a log group by its full name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    endpoint: Endpoint = _DEFAULT,
) -> None:
    """Print the log of a function."""
    from penstock.cli.logs import lines

    with _explained():
        for line in lines(endpoint, name, follow=follow):
            typer.echo(line)


@app.command()
def queues(endpoint: Endpoint = _DEFAULT) -> None:
    """Show every queue: depth, in flight, oldest age, dead letters."""
    from penstock.cli.queues import show_queues

    with _explained():
        show_queues(endpoint)


@app.command()
def redrive(
    queue: Annotated[str, typer.Argument(help="The dead-letter queue: name, URL or ARN.")],
    to: Annotated[str | None, typer.Option(help="Another destination than the sources.")] = None,
    rate: Annotated[int | None, typer.Option(min=1, max=500, help="Messages per second.")] = None,
    endpoint: Endpoint = _DEFAULT,
) -> None:
    """Move dead letters back to where they came from."""
    from penstock.cli.queues import redrive as run

    with _explained(RuntimeError):
        moved = run(endpoint, queue, to, rate)
    typer.echo(f"{moved} messages moved")


@app.command()
def doctor(
    data: Annotated[str, typer.Option(help="Data folder to look at.")] = ".penstock",
    endpoint: Endpoint = _DEFAULT,
) -> None:
    """Say what this machine has, and what would keep Penstock from running well on it."""
    from penstock.cli.doctor import findings

    wrong = 0
    for ok, what, advice in findings(endpoint, data):
        mark = {True: "ok  ", False: "BAD ", None: "    "}[ok]
        typer.echo(f"{mark}{what}" + (f"  -> {advice}" if ok is False else ""))
        wrong += ok is False
    raise typer.Exit(1 if wrong else 0)


@app.command()
def demo(
    orders: Annotated[int, typer.Option(min=10, help="How many orders to send.")] = 1000,
) -> None:
    """Start Penstock in a temporary folder, deploy the orders application, send orders, show what happens."""
    from penstock.cli.demo import run

    raise typer.Exit(run(orders))


def _pairs(given: list[str]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise typer.BadParameter(f"{text!r} is not Name=Value")
    return dict(text.split("=", 1) for text in given)


def _show_event(event: dict[str, Any]) -> None:
    reason = event.get("ResourceStatusReason", "")
    typer.echo(
        f"{event['ResourceStatus']:<20} {event['ResourceType']:<34} {event['LogicalResourceId']}"
        + (f"  {reason}" if reason else "")
    )


@contextmanager
def _explained(*expected: type[Exception]) -> Iterator[None]:
    """Turn what a user can do something about into one line and exit status 1."""
    from urllib.error import HTTPError, URLError

    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

    try:
        yield
    except (EndpointConnectionError, URLError) as error:
        if isinstance(error, HTTPError):
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of this Penstock"
            typer.echo(f"penstock: {error}" + (f"; {hint}" if error.code == 403 else ""), err=True)
        else:
            typer.echo(
                "penstock: nothing answers; is it running (penstock up), or does it listen elsewhere"
                f" (--endpoint or AWS_ENDPOINT_URL)? {error}",
                err=True,
            )
        raise typer.Exit(1) from None
    except (BotoCoreError, ClientError, OSError, *expected) as error:
        typer.echo(f"penstock: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
