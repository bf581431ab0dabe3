"""The commands and their options."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

_STAGE: Final = re.compile(r"https://(\w+)\.execute-api\.[\w-]+\.amazonaws\.com/(\w+)(?:/(.*))?")


def _url(_ctx: click.Context, _option: click.Parameter, text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise click.BadParameter(f"{text!r} is no URL; write it as http://127.0.0.1:4566")
    return text.rstrip("/")


_endpoint: Final = click.option(
    "--endpoint",
    envvar="AWS_ENDPOINT_URL",
    default="http://127.0.0.1:4566",
    show_default=True,
    show_envvar=True,
    callback=_url,
    help="Where Penstock answers.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="penstock", message="penstock %(version)s")
def main() -> None:
    """Run asynchronous serverless applications for real, behind the AWS APIs."""


@main.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on (4566).")
@click.option("--data", help="Data folder (.penstock), or :memory:.")
@click.option("--auth", help="off (loopback only) or sigv4.")
@click.option("--region", help="Region of unsigned requests.")
@click.option("--sandbox", help="Functions in bubblewrap: auto (where it works), none or bwrap.")
@click.option("--seed", type=int, help="Draw identifiers from this number, to repeat a run.")
def up(**options: Any) -> None:
    """Start Penstock and serve until Ctrl+C or SIGTERM."""
    # Nothing of what is loaded goes again, so the collector begins when Penstock is ready; a walk takes 60 ms.
    gc.disable()
    from penstock.cli.up import run

    run(**options)


@main.command()
@click.argument("template", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--stack", required=True, help="Name of the stack.")
@click.option("--parameter", multiple=True, help="Name=Value; repeat it.")
@click.option(
    "--watch",
    is_flag=True,
    help="Go on, and deploy what is saved: the template and all that it names.",
)
@_endpoint
def deploy(
    template: Path, stack: str, parameter: tuple[str, ...], watch: bool, endpoint: str
) -> None:
    """Deploy a template as a stack.

    TEMPLATE is SAM's or CloudFormation's. The code beside it is packaged; each step is shown.
    """
    from penstock.cli.deploy import deploy as run
    from penstock.cli.watch import watch_stack

    given = _pairs(parameter)

    def once() -> None:
        deployed = run(template, stack, given, endpoint, _show_event)
        if not deployed.changed:
            click.echo(f"No changes: the stack {stack} is up to date.")
        _show_outputs(deployed.outputs, endpoint)

    with _explained(endpoint):
        if watch:
            watch_stack(template, stack, endpoint, once)
        else:
            once()


def _show_outputs(outputs: dict[str, str], endpoint: str) -> None:
    for name, value in outputs.items():
        click.echo(f"{name} = {value}")
        stage = _STAGE.fullmatch(value)
        if stage is not None:
            base = f"{endpoint}/restapis/{stage[1]}/{stage[2]}/_user_request_"
            click.echo(f"  here: {base}/{stage[3] or ''}")


@main.command()
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on as the log grows.")
@_endpoint
def logs(name: str, follow: bool, endpoint: str) -> None:
    """Print the log of a function.

    NAME is the function's, or the full name of a log group.
    """
    from penstock.cli.logs import lines

    with _explained(endpoint):
        for line in lines(endpoint, name, follow=follow):
            click.echo(line)


@main.command()
@_endpoint
def queues(endpoint: str) -> None:
    """Show the queues of your account and region: depth, in flight, oldest age, dead letters."""
    from penstock.cli.queues import show_queues

    with _explained(endpoint):
        show_queues(endpoint)


@main.command()
@click.argument("queue")
@click.option("--to", help="Another destination than the sources.")
@click.option("--rate", type=click.IntRange(1, 500), help="Messages per second.")
@_endpoint
def redrive(queue: str, to: str | None, rate: int | None, endpoint: str) -> None:
    """Move dead letters back to where they came from.

    QUEUE is the dead-letter queue's name, URL or ARN.
    """
    from penstock.cli.queues import redrive as run

    with _explained(endpoint):
        moved = run(endpoint, queue, to, rate)
    click.echo("1 message moved" if moved == 1 else f"{moved} messages moved")


@main.command()
@click.option("--data", default=".penstock", show_default=True, help="Data folder to look at.")
@_endpoint
def doctor(data: str, endpoint: str) -> None:
    """Look for what would keep Penstock from running well here."""
    from penstock.cli.doctor import findings

    wrong = 0
    for ok, what, advice in findings(endpoint, data):
        mark = {True: "ok  ", False: "BAD ", None: "    "}[ok]
        click.echo(f"{mark}{what}" + (f"  -> {advice}" if ok is False else ""))
        wrong += ok is False
    raise SystemExit(1 if wrong else 0)


@main.command()
@click.option(
    "--orders",
    type=click.IntRange(10),
    default=1000,
    show_default=True,
    help="How many orders to send.",
)
def demo(orders: int) -> None:
    """Run the orders application, and show what happens."""
    from penstock.cli.demo import run

    raise SystemExit(run(orders))


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not Name=Value")
    return dict(text.split("=", 1) for text in given)


def _show_event(event: dict[str, Any]) -> None:
    reason = event.get("ResourceStatusReason", "")
    click.echo(
        f"{event['ResourceStatus']:<20} {event['ResourceType']:<34} {event['LogicalResourceId']}"
        + (f"  {reason}" if reason else "")
    )


@contextmanager
def _explained(endpoint: str) -> Iterator[None]:
    """Turn what a user can do something about into one line and exit status 1."""
    from penstock.cli.explain import EXPECTED, explanation

    try:
        yield
    except EXPECTED as error:
        click.echo(f"penstock: {explanation(error, endpoint)}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(0) from None
