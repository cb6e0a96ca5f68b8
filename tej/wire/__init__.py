"""Wire format: requests, replies and archives, without any network I/O."""
