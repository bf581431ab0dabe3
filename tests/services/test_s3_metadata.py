"""Values of metadata against answers recorded from AWS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.s3.metadata import field, kept, told, written


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        ('plain ! "#_=?~\t', 'plain ! "#_=?~\t'),
        ("=?UTF-8?Q?actually-ascii?=", "actually-ascii"),
        ("=?UTF-8?B?YWJj?=", "abc"),
        ("=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?=", "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?="),
        ("=?UTF-8?B?AAECAw==?=", "=?UTF-8?B?AAECAw==?="),
        ("a_—_é%E2?.pdf", "=?UTF-8?Q?a=5F=E2=80=94=5F=C3=A9%E2=3F.pdf?="),
        ("=?nonsense?Q?x?=", "=?nonsense?Q?x?="),
    ],
)
def test_recorded(came: str, goes: str) -> None:
    """What AWS answers to metadata in and beyond ASCII."""
    assert goes == told(kept(came))


@given(st.text())
def test_what_is_told_is_ascii_and_read_again(value: str) -> None:
    """Whatever a form says stays what it is; a field can tell it."""
    value = value.replace("\ud800", "").encode(errors="ignore").decode()
    same = kept(written(value))
    assert value == same
    assert told(value).isascii()


def test_other_fields_have_spaces() -> None:
    """Header fields that are no metadata lose what Latin-1 does not have."""
    assert "non-ascii_ _é_" == field("non-ascii_—_é_")
