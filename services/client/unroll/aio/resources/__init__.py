"""What a server offers, one file a resource. Each knows its routes and the transport, nothing else."""
