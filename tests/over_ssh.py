"""Selection of the tests of a queue that run over sshd as well as on `local:`."""

from __future__ import annotations

import os

import pytest

_FOLDERS = {"following", "queue"}
_OVER_SSH = {
    "test_200_threads_wait_over_one_channel",
    "test_late_file_is_followed_from_beginning",
    "test_growing_file_is_fetched_from_its_beginning",
    "test_file_that_shrinks_during_upload_makes_no_job",
    "test_download_from_missing_job_is_an_error",
    "test_large_file_is_fetched_unchanged",
    "test_line_is_yielded_as_soon_as_written",
    "test_link_file_leads_to_queue",
    "test_queue_name_need_not_be_utf8",
    "test_killed_queued_job_never_starts",
    "test_executable_bits_arrive",
    "test_download_many_takes_one_round_trip",
    "test_as_completed_yields_in_order_of_end",
    "test_ensure_many_keeps_order_and_collects_failures",
    "test_many_files_arrive",
    "test_output_is_returned_byte_for_byte",
    "test_threads_fetch_over_one_connection",
    "test_output_of_start_up_files_is_ignored",
    "test_symbolic_links_arrive_as_links",
    "test_default_queue_is_dot_tej_at_home",
    "test_output_of_running_job_can_be_fetched",
    "test_uploaded_files_belong_to_server_user",
    "test_wait_times_out_and_job_continues",
    "test_threads_agree_on_one_job",
    "test_missing_file_is_named_and_nothing_written",
    "test_cancelled_wait_does_not_affect_others",
    "test_reader_that_stops_ends_the_request",
}
"""Names of the tests that always run over sshd, because the connection matters."""


def repeats_local(item: pytest.Item) -> bool:
    """Return whether a test over sshd only repeats the same test on `local:`.

    The server's scripts are the same over sshd and on `local:`.  With TEJ_THOROUGH, all
    tests run over sshd as well.
    """
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return (
        not os.environ.get("TEJ_THOROUGH")
        and item.path.parent.name in _FOLDERS
        and parameters.get("server") == "ssh"
        and getattr(item, "originalname", item.name) not in _OVER_SSH
    )
