"""Partial batch responses, read as strictly as Lambda reads them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.batch import failed_items

IDS = ["a", "b", "c"]


@pytest.mark.parametrize(
    "response",
    [b"", b"null", b'""', b"{}", b'{"batchItemFailures": null}', b'{"batchItemFailures": []}'],
)
def test_success(response: bytes) -> None:
    """AWS deletes the whole batch for each of these answers."""
    assert frozenset() == failed_items(response, IDS)


@pytest.mark.parametrize(
    "response",
    [
        b"not json",
        b"[]",
        b"7",
        b'"text"',
        b'{"batchItemFailures": {}}',
        b'{"batchItemFailures": [{}]}',
        b'{"batchItemFailures": [{"itemIdentifier": ""}]}',
        b'{"batchItemFailures": [{"itemIdentifier": null}]}',
        b'{"batchItemFailures": [{"wrong": "a"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "z"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "a"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": 1}]}',
        b'{"batchItemFailures": [{"itemIdentifier": ["a"]}]}',
        b'{"batchItemFailures": ["a"]}',
    ],
)
def test_whole_batch_fails(response: bytes) -> None:
    """A malformed answer must never delete a message that was not processed."""
    assert frozenset(IDS) == failed_items(response, IDS)


@given(st.sets(st.sampled_from(IDS), min_size=1))
def test_listed_items_fail(failed: set[str]) -> None:
    """Exactly the messages that the function names are retried."""
    response = {"batchItemFailures": [{"itemIdentifier": id_} for id_ in failed]}
    assert frozenset(failed) == failed_items(json.dumps(response).encode(), IDS)


@given(st.binary())
def test_never_raises(response: bytes) -> None:
    """Whatever a function returns is an answer, and names only messages of the batch."""
    assert failed_items(response, IDS) <= frozenset(IDS)
