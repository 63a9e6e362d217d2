"""A script that starts itself again: one task of several processes."""

from __future__ import annotations

import argparse
import subprocess
import sys

from clearml import Task

parser = argparse.ArgumentParser()
parser.add_argument("--num-workers", type=int, default=1)
parser.add_argument("--counter", type=int, default=-1)
args = parser.parse_args()

if Task.current_task():
    print(f"worker sees task {Task.current_task().id}")
task = Task.init("examples", "Popen", auto_connect_arg_parser={"counter": False})
values = task.connect({f"args_{args.num_workers}": f"some value {args.num_workers}"})
print(f"number of workers: {args.num_workers}")
if args.num_workers > 0:
    command = [sys.executable, sys.argv[0], "--num-workers", str(args.num_workers - 1), "--counter", "5"]
    subprocess.run(command, check=True)
task.get_logger().report_scalar("workers", f"left {args.num_workers}", value=1, iteration=args.num_workers)
