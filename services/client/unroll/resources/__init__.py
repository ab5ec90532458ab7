"""One class a resource of the HTTP interface. They share a Transport and know nothing of one another."""
