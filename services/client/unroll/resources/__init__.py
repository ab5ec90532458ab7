"""What a server offers, one file a resource. Each knows its routes and the transport, nothing else."""

# Written by `make reference` from unroll/aio/resources/__init__.py; change it there.
