"""`penstock up`."""

import errno
import gc
import logging
import socket
import sys
from typing import Any

import click
import uvloop

from penstock.app import App
from penstock.config import Config, ConfigError, from_environment
from penstock.core.errors import StoreError
from penstock.runtime.model import RuntimeUnavailable


def run(**options: Any) -> None:
    """Serve until a signal; exit 1 with a clear message when that cannot be."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        config = from_environment(**options)
        uvloop.run(_serve(config))
    except (ConfigError, StoreError, RuntimeUnavailable) as error:
        click.echo(f"penstock: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        why = "cannot listen: " if _is_bind(error) else ""
        other = "; choose another --port or --host" if why else ""
        click.echo(f"penstock: {why}{error}{other}", err=True)
        sys.exit(1)


def _is_bind(error: OSError) -> bool:
    """Whether it is the address that cannot be listened on; other errors name a file."""
    refused = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)
    known = error.errno in refused and error.filename is None
    return known or isinstance(error, socket.gaierror)


async def _serve(config: Config) -> None:
    app = await App.open(config)
    key = await app.root_key() if config.auth == "sigv4" else None

    def ready() -> None:
        # What is loaded by now stays: keep the collector from walking it again and again under load.
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        gc.enable()
        where = f"http://{config.host}:{config.port}"
        click.echo(f"Penstock is ready on {where} (data: {config.data}, auth: {config.auth})")
        if key is not None:
            click.echo(f"AWS_ACCESS_KEY_ID={key.access_key} AWS_SECRET_ACCESS_KEY={key.secret}")
        sys.stdout.flush()

    await app.serve(ready)
