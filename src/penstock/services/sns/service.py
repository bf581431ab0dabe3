"""The SNS service: its parts, and what others need of it."""

from urllib.parse import parse_qs

from penstock.api import Answering, Context, HttpRequest, HttpResponse, Service, operations_of
from penstock.fanout import Fanout
from penstock.services.sns.confirmation import Confirmations
from penstock.services.sns.deliveries import Deliveries
from penstock.services.sns.outbox import Outbox
from penstock.services.sns.permissions import Permissions
from penstock.services.sns.platforms import Platforms
from penstock.services.sns.publish import Publishing
from penstock.services.sns.replay import Replays
from penstock.services.sns.repository import Repository
from penstock.services.sns.signature import PATH, Signers
from penstock.services.sns.sms import Sms
from penstock.services.sns.subscriptions import Subscriptions
from penstock.services.sns.topics import Topics


class Sns:
    """Builds the service."""

    def __init__(self, fanout: Fanout) -> None:
        store, ids = fanout.store, fanout.ids
        self._fanout = fanout
        self._repository = Repository(store)
        self._signers = Signers(store)
        self._deliveries = Deliveries(fanout, self._repository, self._signers)
        self._repository.on_delete = self._deliveries.drop
        self._replays = Replays(fanout, self._repository, self._deliveries)
        topics = Topics(store, self._repository)
        platforms, sms = Platforms(store, ids), Sms(store)
        confirmations = Confirmations(
            store=store,
            ids=ids,
            repository=self._repository,
            deliveries=self._deliveries,
            signers=self._signers,
            endpoint=fanout.endpoint,
        )
        subscriptions = Subscriptions(
            store=store,
            ids=ids,
            topics=topics,
            repository=self._repository,
            confirmations=confirmations,
            platforms=platforms,
            replays=self._replays,
        )
        publishing = Publishing(
            store=store,
            ids=ids,
            repository=self._repository,
            deliveries=self._deliveries,
            platforms=platforms,
            sms=sms,
        )
        self.outbox = Outbox(store)
        self.service = Service(
            "sns",
            operations_of(
                topics,
                Permissions(topics, self._repository),
                subscriptions,
                confirmations,
                publishing,
                platforms,
                sms,
            ),
        )

    async def restore(self) -> None:
        """Go on delivering what a stop or a crash interrupted."""
        await self._deliveries.restore(self._fanout.clock.now())
        await self._replays.restore()

    def reset(self) -> None:
        """Everything was removed."""
        self._repository.forget_all()
        self._signers.forget()
        self._deliveries.reset()

    def close(self) -> None:
        """Deliveries have ended: nothing is signed any more."""
        self._signers.close()

    def door(self, request: HttpRequest) -> Answering | None:
        """Take what needs no credentials: the certificate, and the links of confirmation messages."""
        if request.method != "GET":
            return None
        if request.path.startswith(PATH):
            return self._certificate(request)
        if request.path == "/" and "Action=" in request.query:
            fields = parse_qs(request.query)
            signed = "X-Amz-Signature" in fields or request.headers.get("authorization")
            links = (["ConfirmSubscription"], ["Unsubscribe"])
            if not signed and fields.get("Action") in links:
                arn = fields.get("TopicArn", fields.get("SubscriptionArn", [""]))[0]
                return self._fanout.dispatcher.http(self._nobody(arn), request)
        return None

    def _nobody(self, arn: str) -> Context:
        """Whoever follows a link: somebody without a name, where the topic is."""
        parts = [*arn.split(":"), "", "", "", "", ""]
        return Context(
            account=parts[4],
            region=parts[3],
            now=self._fanout.clock.now(),
            request_id=self._fanout.ids.uuid(),
            endpoint=self._fanout.endpoint,
        )

    async def _certificate(self, request: HttpRequest) -> HttpResponse:
        signer = await self._signers.get()
        if request.path != signer.path:
            return HttpResponse(404, [("content-type", "text/plain")], b"")
        headers = [("content-type", "application/x-x509-ca-cert")]
        return HttpResponse(200, headers, signer.certificate)
