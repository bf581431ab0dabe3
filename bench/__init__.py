"""The same work against Penstock, a peer and the machine's limit, side by side, in one run."""
