"""Lambda: functions, their invocation, and the event sources that feed them."""

from penstock.api import Service, operations_of
from penstock.services.lambda_.asynchronous import AsyncInvocations
from penstock.services.lambda_.code import CodeStore
from penstock.services.lambda_.functions import Functions
from penstock.services.lambda_.invocation import Invocations, Runner
from penstock.services.lambda_.mappings import Mappings
from penstock.services.lambda_.repository import Repository
from penstock.services.lambda_.settings import Settings
from penstock.services.lambda_.surroundings import Surroundings

__all__ = ["LambdaService", "Surroundings"]


class LambdaService:
    """The service's operations (`service`), and what has to be started again with the process (`restore`)."""

    def __init__(self, given: Surroundings) -> None:
        self._repository = Repository(given.store)
        self._ledger = given.ledger
        code = CodeStore(given.store, given.dispatcher, given.ids, given.code_folder)
        self._runner = runner = Runner(code, given)
        self._events = AsyncInvocations(self._repository, runner, given)
        self._mappings = Mappings(self._repository, runner, given)
        self.service = Service(
            "lambda",
            operations_of(
                Functions(self._repository, code, given, self._events),
                Invocations(self._repository, runner, self._events),
                Settings(self._repository, given, self._events),
                self._mappings,
            ),
        )

    def reset(self) -> None:
        """Forget what is not in the store, when the store is emptied."""
        self._ledger.end_reservations()
        self._runner.forget()

    async def restore(self) -> None:
        """Reserve what was reserved and start the subscriptions of every stored function and mapping."""
        for ref, document in await self._repository.all():
            if document["reserved"] is not None:
                self._ledger.reserve(ref.account, ref.region, ref.name, document["reserved"])
            self._events.subscribe(ref, document)
        await self._mappings.restore()
