"""`make fuzz`: libFuzzer, guided by coverage, on the bodies of valid requests and on the bytes of connections.

    python -m tests.gateway.coverage_fuzz CORPUS [libFuzzer options]

The first byte of an input chooses the request whose body the rest is; the highest ones choose a bare connection.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["penstock.wire", "penstock.gateway", "penstock.services"]):
    from tests.gateway.connection import exchange
    from tests.gateway.plant import Plant, furnish, request_for

_CONNECTION = 250


def main(arguments: list[str]) -> None:
    """Seed the corpus and run until libFuzzer's limits, or until something breaks."""
    plant = Plant()
    templates = [
        request_for(service, operation, params)
        for service, requests in furnish(plant).items()
        for operation, params in requests
    ]
    corpus = Path(arguments[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, template in enumerate(templates):
        (corpus / f"seed-{number}").write_bytes(bytes([number]) + template.body)

    def one(data: bytes) -> None:
        if not data:
            return
        if data[0] >= _CONNECTION:
            _, answers, _ = asyncio.run(exchange([data[1:]]))
            assert 500 not in answers
            return
        template = templates[data[0] % len(templates)]
        answer = plant.send(replace(template, body=data[1:]))
        if answer.status == 500:
            raise RuntimeError(f"a 500 for {template.path} with {data[1:]!r}")

    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
