"""Job description on the client: specification, resources, files, signature, status."""
