"""train.py for ranks that share one GPU. NCCL refuses that, so they exchange over gloo.

torchrun --nproc_per_node 2 tests/ranks_on_one_gpu.py --config …
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

import train
from utils.errors import run_command

connect = dist.init_process_group
dist.init_process_group = lambda _, **options: connect("gloo", **options)
train.choose_device = lambda _: torch.device("cuda", 0)
run_command(train.main)
