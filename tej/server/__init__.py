"""The scripts that run on the server, and how to find them."""
