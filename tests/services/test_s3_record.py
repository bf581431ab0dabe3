"""Documents of objects as they are kept."""

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
