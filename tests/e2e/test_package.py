"""What the command line does before it talks to a server."""

from pathlib import Path
from typing import Any

import pytest

from penstock.cli.package import package
from penstock.config import Config, ConfigError, from_environment


def test_shared_code_is_packaged(tmp_path: Path) -> None:
    """SAM takes CodeUri from Globals too; a path left there would fail at the deployment."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("x = 1")
    template: dict[str, Any] = {"Globals": {"Function": {"CodeUri": "src"}}, "Resources": {}}
    uploaded: dict[str, bytes] = {}
    package(template, tmp_path, "bucket", uploaded.__setitem__)
    (key,) = uploaded
    assert {"Bucket": "bucket", "Key": key} == template["Globals"]["Function"]["CodeUri"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PENSTOCK_PORT": "x"}, "PENSTOCK_PORT must be a number"),
        ({"PENSTOCK_PORT": "99999"}, "port must be from 0 to 65535"),
        ({"PENSTOCK_AUTH": "on"}, "auth must be off or sigv4"),
    ],
)
def test_settings_that_cannot_be(environment: dict[str, str], message: str) -> None:
    """A wrong setting is told by its name, not by a traceback."""
    with pytest.raises(ConfigError, match=message):
        from_environment(environment)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:4566"),
        ("::1", "http://[::1]:4566"),
        ("10.0.0.7", "http://10.0.0.7:4566"),
    ],
)
def test_functions_are_told_where_penstock_listens(host: str, url: str) -> None:
    """A function must reach the address that is listened on, whatever it is."""
    assert url == Config(host=host).url
