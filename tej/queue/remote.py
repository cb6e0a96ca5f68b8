"""`RemoteQueue`: a queue of jobs on a server, and all that can be asked of it."""

from __future__ import annotations

from tej.queue.following import Following
from tej.queue.management import Managing
from tej.queue.submitting import Submitting


class RemoteQueue(Submitting, Following, Managing):
    """A queue of jobs, in a directory on a server.

    Making one stores what is given; the first use connects.  It may be shared between
    threads, and used in a process forked off: each process has its own connection.

    All verbs raise ConnectionFailed if the server cannot be reached after some tries,
    RemoteCommandFailure if it cannot do its part, and QueueExists if what is at the
    queue's path is not a queue that this tej can use.
    """
