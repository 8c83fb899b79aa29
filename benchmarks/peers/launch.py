"""Runs one command and reports its wall and processor time and peak memory: `launch.py REPORT CORES COMMAND ...`.

A process of its own, started anew each time: what Linux reports as a child's peak begins with the peak of the process
it was forked from, and the benchmark's own may be large by then. The floor is this small interpreter's, about 10 MB.
"""

import os
import sys
import time

report, cores, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
started = time.perf_counter()
pid = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(pid, 0)
wall_s = time.perf_counter() - started
code = os.waitstatus_to_exitcode(status)
with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the floor
    file.write(f"{code} {wall_s} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss * 1024}\n")
