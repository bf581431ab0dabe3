"""Lambda: functions, their invocation, and the event sources that feed them."""

from collections.abc import Callable

from penstock.api import Answering, HttpRequest, Service, operations_of
from penstock.services.lambda_.aliases import Aliases
from penstock.services.lambda_.asynchronous import AsyncInvocations
from penstock.services.lambda_.code import CodeStore
from penstock.services.lambda_.code_url import CodeUrls
from penstock.services.lambda_.event_invoke import EventInvokeConfigs
from penstock.services.lambda_.functions import Functions
from penstock.services.lambda_.invocation import Invocations, Runner
from penstock.services.lambda_.layers import Layers
from penstock.services.lambda_.mappings import Mappings
from penstock.services.lambda_.permissions import Permissions
from penstock.services.lambda_.provisioned import Provisioned
from penstock.services.lambda_.repository import Repository
from penstock.services.lambda_.settings import Settings
from penstock.services.lambda_.surroundings import Surroundings
from penstock.services.lambda_.tags import Tags
from penstock.services.lambda_.url_door import Admit, UrlDoor
from penstock.services.lambda_.urls import Urls

__all__ = ["LambdaService", "Surroundings"]


class LambdaService:
    """The service's operations (`service`), and what has to be started again with the process (`restore`)."""

    def __init__(self, given: Surroundings) -> None:
        self._given = given
        self._repository = repository = Repository(given.store, given.ids)
        code = CodeStore(given.store, given.dispatcher, given.ids, given.code_folder)
        self._code_urls = CodeUrls(given.store, code, given.ids, given.clock)
        self._runner = runner = Runner(code, given)
        self._events = events = AsyncInvocations(repository, runner, given)
        self._mappings = Mappings(repository, runner, given)
        self._provisioned = provisioned = Provisioned(repository, runner, given)
        self._urls = Urls(repository, given.ids)
        layers = Layers(given.store, self._code_urls, given.ids)
        self.service = Service(
            "lambda",
            operations_of(
                Functions(repository, self._code_urls, layers, provisioned, given, events),
                Invocations(repository, runner, events, given.ids),
                Aliases(repository, provisioned, given.ids),
                EventInvokeConfigs(repository, events),
                Permissions(repository, given.ids),
                Settings(repository, layers, given),
                Tags(repository, given.ids),
                self._mappings,
                self._urls,
                layers,
                provisioned,
            ),
        )

    def door(self, admit: Admit) -> Callable[[HttpRequest], Answering | None]:
        """The door to function URLs, whose signed requests `admit` knows, and to the links to packages."""
        urls, packages = UrlDoor(self._urls, self._runner, self._given, admit), self._code_urls

        def door(request: HttpRequest) -> Answering | None:
            return urls(request) or packages.door(request)

        return door

    def reset(self) -> None:
        """Forget what is not in the store, when the store is emptied."""
        self._provisioned.reset()
        self._given.ledger.end_reservations()
        self._runner.forget()
        self._code_urls.forget()

    async def restore(self) -> None:
        """Reserve what was reserved and start the subscriptions of every stored function and mapping."""
        ledger = self._given.ledger
        for ref, document in await self._repository.all():
            if document["reserved"] is not None:
                ledger.reserve(ref.account, ref.region, ref.name, document["reserved"])
            self._events.subscribe(ref, document)
            await self._provisioned.restore(ref, document)
        await self._events.restore()
        await self._mappings.restore()
