"""Jobs submitted with DPDispatcher over SSH, without a scheduler, as a peer of tej.

dpdispatcher_jobs.py PORT USER COUNT FOLDER
"""

import sys
from pathlib import Path

from dpdispatcher import Machine, Resources, Submission, Task

port, user, count, folder = sys.argv[1:]
local = Path(folder, "local")
tasks = []
for number in range(int(count)):
    work = local / f"task{number}"
    work.mkdir(parents=True)
    (work / "start.sh").write_text("#!/bin/sh\necho done >result\n")
    tasks.append(
        Task(
            command="sh start.sh",
            task_work_path=f"task{number}",
            forward_files=["start.sh"],
            backward_files=["result"],
        )
    )
Path(folder, "remote").mkdir()
machine = Machine.load_from_dict(
    {
        "batch_type": "Shell",
        "context_type": "SSHContext",
        "local_root": str(local),
        "remote_root": str(Path(folder, "remote")),
        "remote_profile": {
            "hostname": "127.0.0.1",
            "port": int(port),
            "username": user,
            # rsync, which DPDispatcher calls, ignores $HOME.
            "key_filename": str(Path.home() / ".ssh/id_ed25519"),
            "timeout": 30,
        },
    }
)
resources = Resources.load_from_dict(
    {
        "number_node": 1,
        "cpu_per_node": 1,
        "gpu_per_node": 0,
        "queue_name": "",
        "group_size": 1,
    }
)
Submission(
    work_base=".", machine=machine, resources=resources, task_list=tasks
).run_submission(check_interval=1)
