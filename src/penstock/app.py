"""The composition root: builds every object and passes it explicitly."""

import asyncio
import logging
import os
import platform
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from penstock.api import Context, Handler, HttpResponse, Service
from penstock.clock import SteeredClock, SystemClock, quiet
from penstock.config import Config
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.delivery.engine import DeliveryEngine
from penstock.delivery.fault import Faults
from penstock.fanout import Fanout, Outbound
from penstock.gateway.answering import Durability
from penstock.gateway.control import Control
from penstock.gateway.cors import CorsDoors
from penstock.gateway.dispatch import LocalDispatcher
from penstock.gateway.fault_targets import FaultTargets
from penstock.gateway.forms import FormDoor
from penstock.gateway.identity import Identities
from penstock.gateway.pipeline import Pipeline
from penstock.gateway.server import Entrance, Gateway
from penstock.gateway.steering import Steering
from penstock.runtime.concurrency import ConcurrencyLedger
from penstock.runtime.interpreter import Interpreters
from penstock.runtime.launcher import Launcher
from penstock.runtime.process import ProcessRuntime
from penstock.services.apigateway import ApiGateway
from penstock.services.cloudformation import cloudformation_service
from penstock.services.dynamodb import DynamoDb
from penstock.services.events import Events
from penstock.services.iam import Credential, Credentials, iam_service, sts_service
from penstock.services.lambda_ import LambdaService, Surroundings
from penstock.services.logs import StoreLogSink, logs_service
from penstock.services.pipes import Pipes
from penstock.services.s3 import S3
from penstock.services.scheduler import Scheduler
from penstock.services.sns import Sns
from penstock.services.sqs import Sqs
from penstock.services.ssm import ssm_service
from penstock.storage.primitives import Store
from penstock.storage.sqlite import SqliteStore
from penstock.wire import Wire

_log: Final = logging.getLogger("penstock")
_SECRETS: Final = "penstock/secrets"
"""The store's own: keys, and how far its clock was steered. A reset leaves them."""


@dataclass(frozen=True, slots=True)
class RootKey:
    """The local account's own key pair."""

    access_key: str
    secret: str


class App:
    """A whole Penstock: storage, services, functions, delivery and the gateway."""

    def __init__(
        self, config: Config, store: Store, clock: SteeredClock, ids: Ids, receipt_key: bytes
    ) -> None:
        self.config = config
        self.store = store
        self.clock = clock
        faults = Faults(_crash)
        self.engine = DeliveryEngine(store, clock, faults)
        self._ids = ids
        handlers: dict[tuple[str, str], Handler] = {}
        self.handlers: Mapping[tuple[str, str], Handler] = handlers
        credentials = Credentials(store, ids)
        self._temporary: Path | None = None
        folder = config.functions_folder
        if folder is None:
            folder = self._temporary = Path(tempfile.mkdtemp(prefix="penstock-functions-"))
        self.runtime = ProcessRuntime(
            sink=StoreLogSink(store, clock),
            clock=clock,
            ids=ids,
            endpoint_url=config.url,
            launcher=Launcher(
                Interpreters(config.search_path, Path.home(), config.cache),
                config.search_path,
                config.sandbox,
                folder,
            ),
        )
        self.sqs = Sqs(store, ids, clock, receipt_key)
        names = [
            "sqs",
            "sns",
            "s3",
            "iam",
            "sts",
            "ssm",
            "logs",
            "lambda",
            "cloudformation",
            "dynamodb",
            "apigateway",
            "scheduler",
            "pipes",
            "events",
        ]
        wire = Wire(names, config.max_body)
        dispatcher = LocalDispatcher(wire, handlers, store, ids, clock)
        apigateway = ApiGateway(store, ids, clock, dispatcher, wire.target_headers)
        self.outbound = Outbound()
        fanout = Fanout(
            store=store,
            engine=self.engine,
            dispatcher=dispatcher,
            clock=clock,
            ids=ids,
            faults=faults,
            intake=self.sqs.intake,
            queue_exists=self.sqs.exists,
            outbound=self.outbound,
            endpoint=config.url,
        )
        self.sns = Sns(fanout)
        self.functions = LambdaService(
            Surroundings(
                store=store,
                ids=ids,
                clock=clock,
                runtime=self.runtime,
                ledger=ConcurrencyLedger(),
                dispatcher=dispatcher,
                engine=self.engine,
                sqs_source=self.sqs.source,
                receipt_handle=self.sqs.handle,
                credentials_for=credentials.credentials_for,
                role_exists=credentials.role_exists,
                fanout=fanout,
                code_folder=folder / "code",
                machine=platform.machine(),
            )
        )
        self.s3 = S3(store, ids, dispatcher, fanout)
        self.events = Events(fanout, frozenset(names), apigateway.door)
        self.cloudformation = cloudformation_service(store, ids, clock, dispatcher)
        self.dynamodb = DynamoDb(store, ids, clock)
        self.scheduler = Scheduler(fanout)
        self.pipes = Pipes(fanout, self.sqs.source, self.sqs.handle, self.events.call)
        services = [
            self.sqs.service,
            self.sns.service,
            self.functions.service,
            self.s3.service,
            iam_service(store, ids),
            sts_service(store, ids),
            ssm_service(store),
            self.dynamodb.service,
            logs_service(store),
            self.cloudformation.service,
            apigateway.service,
            self.scheduler.service,
            self.pipes.service,
            self.events.service,
        ]
        for service in services:
            _register(handlers, service)
        identities = Identities(config.account, credentials.find)
        pipeline = dispatcher.pipeline = Pipeline(
            wire=wire,
            handlers=handlers,
            identities=identities,
            ids=ids,
            clock=clock,
            machine=SystemClock(),
            auth=config.auth,
            region=config.region,
        )
        steering = Steering(
            clock, faults, self.settle, self._keep_time, FaultTargets(dispatcher).check
        )
        control = Control(
            [service.name for service in services],
            pipeline.admit,
            {
                ("POST", "/_penstock/reset"): self.reset,
                ("GET", "/_penstock/queues"): self.queues,
                ("GET", "/_penstock/outbox"): self.sns.outbox.read,
                ("GET", "/_penstock/clock"): steering.tell_time,
                ("POST", "/_penstock/clock"): steering.set_time,
                ("GET", "/_penstock/faults"): steering.tell_faults,
                ("POST", "/_penstock/faults"): steering.set_faults,
            },
        )
        function_door = self.functions.door(pipeline.admit)
        checks = config.auth == "sigv4"
        entrances = [
            Entrance(control, ["_penstock"]),
            Entrance(apigateway.door, ["_aws", "restapis"], [".execute-api."]),
            Entrance(function_door, ["_aws"], [".lambda-url."]),
            Entrance(self.sns.door, methods=["GET"]),
            *_s3_entrances(self.s3, wire, pipeline, identities, ids, checks=checks),
        ]
        durability = Durability(store, pipeline.unavailable)
        # Connections live in the machine's time, as their clients do.
        self.gateway = Gateway(
            entrances, durability, SystemClock(), config.max_body, pipeline.takes_stream
        )

    @classmethod
    async def open(
        cls, config: Config, clock: SteeredClock | None = None, ids: Ids | None = None
    ) -> Self:
        """Open the data folder and build everything on it. Raises `StoreError` when the folder cannot be used."""
        store = await SqliteStore.open(config.data)
        ids = ids or Ids(config.seed)
        row = await store.table.get(_SECRETS, b"clock", b"")
        clock = clock or SteeredClock(0 if row is None else orjson.loads(row.document))
        app = cls(config, store, clock, ids, await _receipt_key(store, ids))
        await app.runtime.start()
        return app

    async def restore(self) -> None:
        """Go on with what a stop or a crash interrupted. Functions need a gateway that listens: call it then."""
        await self.sqs.restore()
        await self.sns.restore()
        await self.functions.restore()
        self.s3.restore()
        self.dynamodb.expiry.start()
        self.scheduler.restore()
        await self.pipes.restore()
        await self.events.restore()
        await self.cloudformation.restore()

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until a signal; then finish what is in flight and close."""

        async def listening() -> None:
            await self.restore()
            ready()

        try:
            await self.gateway.serve(
                self.config.host, self.config.port, listening, self.sqs.release
            )
        finally:
            await self.close()

    async def close(self) -> None:
        """End deliveries and functions, and make everything durable."""
        await self.cloudformation.close()
        await self.s3.close()
        await self.dynamodb.expiry.close()
        await self.engine.close()
        await self.sqs.close()
        self.sns.close()
        await self.runtime.close()
        await self.outbound.close()
        await self.store.close()
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    async def settle(self) -> None:
        """Return when every delivery waits for messages or for time, and nothing is on its way to the disk."""
        await quiet(lambda: self.s3.idle() and self.dynamodb.expiry.idle() and self.engine.idle())
        await self.store.durable()

    async def reset(self, _: Context, __: object) -> dict[str, str]:
        """Remove everything and begin anew, as a new data folder would; the store's own keys stay."""
        await self.cloudformation.close()
        await self.s3.close()
        await self.dynamodb.expiry.close()
        await self.engine.close()
        await self.sqs.close()
        secrets = await self.store.table.scan(_SECRETS)
        await self.store.reset()
        for row in secrets:
            await self.store.table.put(_SECRETS, row.partition, row.sort, row.document)
            if row.partition == b"root":
                await self._keep_root(RootKey(**orjson.loads(row.document)))
        self.functions.reset()
        self.s3.start()
        self.dynamodb.expiry.start()
        self.events.reset()
        self.sns.reset()
        await self.store.durable()
        return {"status": "reset"}

    async def queues(self, ctx: Context, _: object) -> list[dict[str, Any]]:
        """Every queue of the caller's account and region with its depth and age."""
        return await self.sqs.overview(ctx)

    async def root_key(self) -> RootKey:
        """The local account's own key pair, made on first use."""
        row = await self.store.table.get(_SECRETS, b"root", b"")
        if row is not None:
            return RootKey(**orjson.loads(row.document))
        key = RootKey("AKIA" + self._ids.upper_token(16), self._ids.secret())
        await self.store.table.put(_SECRETS, b"root", b"", orjson.dumps(key))
        await self._keep_root(key)
        await self.store.durable()
        return key

    async def _keep_time(self, ahead: int) -> None:
        """Go on after a restart where the clock was steered to."""
        await self.store.table.put(_SECRETS, b"clock", b"", orjson.dumps(ahead))
        await self.store.durable()

    async def _keep_root(self, key: RootKey) -> None:
        account = self.config.account
        root = Credential(key.secret, account, f"arn:aws:iam::{account}:root", account)
        await Credentials(self.store, self._ids).keep(key.access_key, root, status="Active")


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _register(handlers: dict[tuple[str, str], Handler], service: Service) -> None:
    for name, handler in service.operations.items():
        handlers[(service.name, name)] = handler


def _s3_entrances(
    s3: S3, wire: Wire, pipeline: Pipeline, identities: Identities, ids: Ids, *, checks: bool
) -> Sequence[Entrance]:
    """The doors that know of S3's forms and cross-origin rules; the last one takes every AWS request."""

    def error(error: AwsError, request_id: str) -> HttpResponse:
        return wire.operation("s3", "PutObject").error(error, request_id)

    form = FormDoor(s3.post, identities, error, pipeline.admit, pipeline.context_of, checks=checks)
    cors = CorsDoors(s3.cors, error, ids.uuid, pipeline.handle)
    return (
        Entrance(cors.around(form), methods=["POST"], forms=True),
        Entrance(cors.preflight, methods=["OPTIONS"]),
        Entrance(cors.around(pipeline.handle), crossing=True),
        Entrance(pipeline.handle),
    )


async def _receipt_key(store: Store, ids: Ids) -> bytes:
    """The key that seals receipt handles; it lives as long as the data folder."""
    row = await store.table.get(_SECRETS, b"receipts", b"")
    if row is not None:
        return row.document
    key = ids.random.getrandbits(256).to_bytes(32, "big")
    await store.table.put(_SECRETS, b"receipts", b"", key)
    await store.durable()
    return key
