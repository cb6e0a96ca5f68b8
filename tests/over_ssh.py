"""Selection of the tests of a queue that run over sshd as well as on `local:`."""

from __future__ import annotations

import os

import pytest

_FOLDERS = {"following", "queue"}
_OVER_SSH = {
    "test_200_threads_wait_over_one_channel",
    "test_a_file_that_appears_late_is_followed_from_its_beginning",
    "test_a_file_that_grows_while_it_is_fetched_comes_as_it_was",
    "test_a_file_that_shrinks_while_it_is_sent_makes_no_job",
    "test_a_job_that_is_not_there_is_an_error",
    "test_a_large_file_comes_to_the_byte",
    "test_a_line_is_shown_when_it_is_written_not_when_more_comes",
    "test_a_link_leads_to_the_queue",
    "test_a_queue_may_have_a_name_that_is_not_utf8",
    "test_a_queued_job_that_is_killed_never_starts",
    "test_executable_bits_arrive",
    "test_files_of_many_come_in_one_round_trip_each_to_its_own_directory",
    "test_jobs_come_in_the_order_in_which_they_end",
    "test_many_are_ensured_in_order_and_failures_collected",
    "test_many_files_arrive",
    "test_output_comes_byte_by_byte_as_it_was_written",
    "test_several_threads_fetch_over_one_connection",
    "test_start_up_files_that_print_do_not_disturb",
    "test_symbolic_links_arrive_as_links_dangling_ones_too",
    "test_the_default_is_dot_tej_in_the_home_directory",
    "test_the_output_of_a_running_job_can_be_fetched",
    "test_the_server_owns_what_arrives",
    "test_the_time_given_is_kept_and_the_job_goes_on",
    "test_threads_agree_on_one_job",
    "test_what_is_not_there_is_named_and_nothing_is_written",
    "test_who_leaves_does_not_keep_the_others",
    "test_who_stops_reading_is_let_go",
}
"""Names of the tests that always run over sshd, because the connection matters."""


def repeats_local(item: pytest.Item) -> bool:
    """Return whether a test runs over sshd only what it also runs on `local:`.

    The server's scripts are the same in both cases.  With TEJ_THOROUGH, all tests run.
    """
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return (
        not os.environ.get("TEJ_THOROUGH")
        and item.path.parent.name in _FOLDERS
        and parameters.get("server") == "ssh"
        and getattr(item, "originalname", item.name) not in _OVER_SSH
    )
