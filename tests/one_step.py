"""One training step of a network, for the tool that counts what a GPU would do.

    python pretend_gpu.py tests/one_step.py ours|plain

Both networks get the same padded batch and count all frames (config/original.yaml).
"""

from __future__ import annotations

import sys

import torch

from benchmarks.bench_network import CLASSES, ROOT, epoch, random_batch
from benchmarks.plain import PlainLocalizer
from model.localizer import Localizer
from utils import config

device = torch.device("cuda")
settings = config.load([ROOT / "config" / "original.yaml"])
network = PlainLocalizer(CLASSES) if sys.argv[1] == "plain" else Localizer(CLASSES, settings.model)
epoch(network.to(device), [random_batch([77, 91, 103, 112], device)], settings)()
