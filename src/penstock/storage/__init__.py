"""Where everything is kept: four primitives, leases and a notifier. It is handed `now`; it never sees a clock."""
