"""train.py for ranks that share one GPU.

torchrun --nproc_per_node 2 tests/ranks_on_one_gpu.py nccl|gloo --config …

NCCL refuses two ranks on one GPU of one machine. It is told that each rank has a machine of its own. With "gloo", the
tensors on the GPU are exchanged by gloo, too.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

import train
from utils.errors import run_command

if sys.argv.pop(1) == "nccl":
    os.environ |= {"NCCL_HOSTID": os.environ["RANK"], "NCCL_SOCKET_IFNAME": "lo"}
else:
    connect = dist.init_process_group
    dist.init_process_group = lambda _, **options: connect("gloo", **options)
train.choose_device = lambda _: torch.device("cuda", 0)
run_command(train.main)
