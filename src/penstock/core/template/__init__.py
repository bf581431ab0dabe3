"""CloudFormation templates: read, check, evaluate, order, compare. Pure: what is deployed comes in as values."""
