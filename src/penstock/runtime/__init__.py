"""Functions as processes: environments, the Lambda Runtime API, the warm pool, concurrency."""
