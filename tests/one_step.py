"""One training step of a network, for the tool that counts what a GPU would do.

    python pretend_gpu.py tests/one_step.py plain|all-frames|default

All networks get the same padded batch. "plain" is the plain network. "all-frames" is this project's network when it
counts all frames, as the plain one does (config/released.yaml). "default" masks the padding. Convolutions may use TF32,
which is PyTorch's default: without it, each temporal convolution of this project makes three more copies.
"""

import sys

import torch

from benchmarks.bench_network import CLASSES, epoch_work, random_batch
from benchmarks.plain import PlainLocalizer
from model.localizer import Localizer
from utils import config

name, device = sys.argv[1], torch.device("cuda")
settings = config.load([] if name == "default" else [config.ROOT / "config" / "released.yaml"])
network = PlainLocalizer(CLASSES) if name == "plain" else Localizer(CLASSES, settings.model)
epoch_work(network.to(device), [random_batch([77, 91, 103, 112], device)], settings)()
