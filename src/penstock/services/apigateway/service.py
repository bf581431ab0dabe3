"""The API Gateway service: a control plane of operations, and a door for the requests to deployed APIs."""

from penstock.api import Dispatcher, Service, operations_of
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.services.apigateway.compiled import Compiler
from penstock.services.apigateway.deployments import Deployments
from penstock.services.apigateway.execute import Execution
from penstock.services.apigateway.integration_aws import TargetHeaders
from penstock.services.apigateway.integrations import Integrations
from penstock.services.apigateway.methods import Methods
from penstock.services.apigateway.models import GatewayResponses, Models, Validators
from penstock.services.apigateway.repository import Repository
from penstock.services.apigateway.resources import Resources
from penstock.services.apigateway.restapis import RestApis
from penstock.services.apigateway.stages import Stages
from penstock.services.apigateway.tags import Tags
from penstock.services.apigateway.trial import Trials
from penstock.storage.primitives import Store


class ApiGateway:
    """Builds the service. `target_of` gives the headers by which a service's JSON protocol names an operation."""

    def __init__(
        self, store: Store, ids: Ids, clock: Clock, dispatcher: Dispatcher, target_of: TargetHeaders
    ) -> None:
        repository = Repository(store)
        execution = Execution(repository, Compiler(dispatcher, target_of), ids, clock)
        self.service = Service(
            "apigateway",
            operations_of(
                RestApis(repository, ids, dispatcher),
                Resources(repository, ids),
                Methods(repository),
                Integrations(repository, dispatcher),
                Deployments(repository, ids),
                Stages(repository),
                Tags(repository),
                Models(repository, ids),
                Validators(repository, ids),
                GatewayResponses(repository),
                Trials(repository, execution, ids, clock, dispatcher, target_of),
            ),
        )
        self.door = execution.door
