"""AWS services: operations over the four primitives. They meet through the dispatcher and delivery only."""
