"""The command line. Each command imports what it needs when it runs, so that `up` starts fast."""

from penstock.cli.commands import main

__all__ = ["main"]
