"""The HTTP routes, one module a resource. They translate; rules live in the rooms they call."""
