"""Search for the processes of jobs, in shell functions that are called without a server."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

Shell = Callable[..., str]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SEARCH = r"""
# `env` runs the program, and not the builtin of ksh93.
# Another process of the tests must not have the same token.
unique=$(printf '%031x' $$); A=${unique}a B=${unique}b C=${unique}c
me; spec=''; where=''; native=''; has_job() { spec="token=$1 end" j_pid=$2 j_start=$3; add_to_search "$4"; }
begin() { eval "TEJ_JOB_TOKEN=$2 env sleep 50 & $1=\$!"; until tr '\0' '\n' </proc/$!/environ | grep -q "$2" && read -r name </proc/$!/comm && [ "$name" = sleep ]; do :; done; all="$all $!"; }
trap 'kill $all' EXIT; all=''; begin a $A; begin b $B; begin c $C
# The search ignores the environment of a process that is younger than the search.
command sleep 0.02
"""


@pytest.mark.parametrize("reads_nul", ["1", ""])
def test_processes_are_found_by_token(shell: Shell, reads_nul: str) -> None:
    lines = f"""{SEARCH} grep_reads_nul={reads_nul}; say() {{ run_search; for key in 1 2 3; do eval "pids=\\${{pids_$key-none}}"; [ "$pids" = "$a " ] && pids=a; [ "$pids" = "$b " ] && pids=b; printf '%s|' "$has_searched" "$pids"; done; echo; unset pids_1 pids_2 pids_3; }}
    begin_search; has_job $A - - 1; say; begin_search; has_job $A - - 1; has_job $B - - 2; has_job ${{A%?}} - - 3; say; begin_search; say
    get_start $b; begin_search; has_job $C- $b $start 1; say; begin_search; has_job - $b 7 1; has_job $B 1 - 2; say; where=other; begin_search; has_job - $b $start 1; say; where=''
    native="pid $host b $space 1 1"; begin_search; has_job - $b $start 1; say; is_wrapper=1; begin_search; has_job - $b $start 1; say; native="pid $host $boot $space 1 1" is_wrapper=''; begin_search; has_job - $b $start 1; say
    begin_search; has_job - $$ 0 1; run_search; case " $pids_1" in *" $a "*) echo session ;; *) echo alone ;; esac; get_start $$; begin_search; has_job - $$ $start 1; has_job $A - - 2; run_search; for one in $a $b; do case " $pids_1" in *" $one "*) echo child ;; esac; done"""
    assert shell(lines).splitlines() == [
        *("1|a|1|none|1|none|", "1|a|1|b|1||", "1|none|1|none|1|none|"),
        *("1|b|1|none|1|none|", "1||1|b|1|none|", "1||1|none|1|none|"),
        *("1||1|none|1|none|", "1|b|1|none|1|none|", "1|b|1|none|1|none|"),
        *("alone", "child", "child"),
    ]


@pytest.mark.parametrize("reads_nul", ["1", ""])
def test_variable_with_a_path_marks_no_other_process(
    shell: Shell, reads_nul: str
) -> None:
    lines = f"""{SEARCH} grep_reads_nul={reads_nul}; D=${{unique}}d
    env -i "X=$(printf '\\n==> /proc/%s/environ <==\\n' $c)" TEJ_JOB_TOKEN=$D sleep 50 & d=$!; all="$all $d"
    until tr '\\0' '\\n' </proc/$d/environ | grep -q "$D" && read -r name </proc/$d/comm && [ "$name" = sleep ]; do :; done; command sleep 0.02
    begin_search; has_job $D - - 1; has_job $A - - 2; run_search
    [ "$pids_1/$pids_2" = "$d /$a " ] || echo "$pids_1/$pids_2, not $d /$a " """
    assert shell(lines) == ""


def test_failed_search_is_not_an_empty_one(shell: Shell) -> None:
    lines = f"""{SEARCH} search_failed() {{ echo failed; }}; say() {{ begin_search; has_job $A - - 1; has_job $B - - 2; run_search; echo "$has_searched"; }}; grep_reads_nul=1
    (cat() {{ :; }}; say); (awk() {{ :; }}; say); (grep() {{ return 3; }}; say); (head() {{ :; }}; say); (say);
    (cat() {{ command cat "$proc"/[0-9]*/stat; }}; say); (head() {{ command head "$@" | sed '$d'; }}; say); check_grep; echo "$grep_reads_nul"; unset grep_reads_nul; check_grep; echo "$grep_reads_nul"
    grep() {{ return 1; }}; unset grep_reads_nul; check_grep; echo "/$grep_reads_nul"; unset -f grep; grep_reads_nul=1; grep() {{ return 3; }}; begin_search; has_job $A - - 1; run_search"""
    assert shell(lines).splitlines() == [
        *("failed", "", "failed", "", "failed", "", "failed", "", "1"),
        *("failed", "", "failed", "", "1", "1"),
        *("/", "failed"),
    ]


def test_only_the_first_process_is_known_without_proc(shell: Shell) -> None:
    lines = """me; proc=''; spec=''; where=''; native="pid $host $boot $space 1 1"; check_process() { life=$l; }; for l in alive gone unsure; do for is_wrapper in '' 1; do j_pid=5 j_start=6; begin_search; add_to_search 1; run_search; echo "$l $is_wrapper$pids_1/$wanted_count"; done; done"""
    assert shell(lines).splitlines() == [
        *("alive 5/0", "alive 15/0", "gone /0", "gone 1/0", "unsure /0"),
        "unsure 15/0",
    ]
