"""Documents of objects as they are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.s3.record import dump, load

TEXTS = st.text().map(lambda text: text.encode(errors="ignore").decode())


@given(st.dictionaries(TEXTS.filter(lambda name: name != "data"), TEXTS), st.none() | st.binary())
def test_what_is_kept_is_read_again(document: dict[str, object], data: bytes | None) -> None:
    """Any text and any bytes, line breaks included."""
    if data is not None:
        document["data"] = data
    assert document == load(dump(document))


def test_what_is_no_json_is_not_lost() -> None:
    """Only the data of a document is bytes; anything else that JSON cannot say is an error, not null."""
    with pytest.raises(TypeError):
        dump({"headers": {"ContentType": object()}, "data": b"body"})
