"""One training step of a network, for the tool that counts what a GPU would do.

    python pretend_gpu.py tests/one_step.py ours|masked|plain

All get the same padded batch. "ours" (config/original.yaml) and the plain network count all frames, "masked" only the
real ones.
"""

from __future__ import annotations

import sys

import torch

from benchmarks.bench_network import CLASSES, ROOT, epoch, random_batch
from benchmarks.plain import PlainLocalizer
from model.localizer import Localizer
from utils import config

device = torch.device("cuda")
settings = config.load([] if sys.argv[1] == "masked" else [ROOT / "config" / "original.yaml"])
network = PlainLocalizer(CLASSES) if sys.argv[1] == "plain" else Localizer(CLASSES, settings.model)
epoch(network.to(device), [random_batch([77, 91, 103, 112], device)], settings)()
