"""What goes over a connection: requests, replies and archives.  No I/O of its own."""
