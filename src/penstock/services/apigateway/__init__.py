"""API Gateway: REST APIs, their deployments and stages, and the requests to them."""

from penstock.services.apigateway.service import ApiGateway

__all__ = ["ApiGateway"]
