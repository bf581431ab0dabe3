"""Properties of resource types: a constant each type, a module each service."""
