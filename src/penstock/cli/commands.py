"""The commands and their options."""

from typing import Annotated, Optional

import typer

app = typer.Typer(
    name="penstock",
    help="Run asynchronous serverless applications for real, behind the AWS APIs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Endpoint = Annotated[
    str, typer.Option(envvar="AWS_ENDPOINT_URL", help="Where Penstock answers.")
]
_DEFAULT = "http://127.0.0.1:4566"


def main() -> None:
    """Run the command line."""
    app()


@app.callback()
def penstock() -> None:
    """Run asynchronous serverless applications for real, behind the AWS APIs."""


@app.command()
def up(
    host: Annotated[Optional[str], typer.Option(help="Address to listen on.")] = None,  # noqa: UP007, UP045
    port: Annotated[Optional[int], typer.Option(help="Port to listen on (4566).")] = None,  # noqa: UP007, UP045
    data: Annotated[Optional[str], typer.Option(help="Data folder (.penstock), or :memory:.")] = None,  # noqa: UP007, UP045
    auth: Annotated[Optional[str], typer.Option(help="off (loopback only) or sigv4.")] = None,  # noqa: UP007, UP045
    region: Annotated[Optional[str], typer.Option(help="Region of unsigned requests.")] = None,  # noqa: UP007, UP045
) -> None:
    """Start Penstock and serve until Ctrl+C or SIGTERM."""
    from penstock.cli.up import run

    run(host=host, port=port, data=data, auth=auth, region=region)
