"""Penstock: asynchronous serverless applications, for real, behind the AWS APIs."""

__version__ = "0.1.0"
