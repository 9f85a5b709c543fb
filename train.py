"""Train a localizer from video-level labels, evaluate it, and keep everything in one run folder.

    python train.py --config config/train_split1.yaml                       # train, then evaluate
    python train.py --config config/train_split1.yaml --resume              # continue an interrupted run
    python train.py --config config/train_split1.yaml --phase test --weights work_dir/split1/last.pt
    torchrun --nproc_per_node 4 train.py --config config/train_split1.yaml  # 4 GPUs, or 4 processes on a CPU
    tensorboard --logdir work_dir                                           # watch the training curves

A run is: data → model → epochs (a pass over the training clips, validation, checkpoint) → results.json.
"""

import arguments
from utils.command_line import check_first

if __name__ == "__main__":
    check_first(arguments.train, __doc__)  # reports mistakes in the command line before the slow imports below

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import validate
from feeders.batches import Loader
from feeders.dataset import SkeletonClips, training_clips
from feeders.micro_batches import train_loader
from model.cuda_graphs import CUDAGraphs, uses_cuda_graphs
from model.localizer import Localizer
from model.losses import EpochLosses, objective
from model.ops.batch_norm import synchronize_batch_norm
from model.refinement import FrameLabels, PseudoLabels
from model.similar_pieces import find_pieces
from model.training_state import TrainingState, last_good
from reporting.tensorboard import TensorBoardWriter
from utils import distributed
from utils.config import Settings, TrainSettings
from utils.device import choose_device, compile_blocks, device_name, set_matrix_precision
from utils.errors import run_command
from utils.progress import epoch_line, progress
from utils.run import Run, holds_run, lock_run
from utils.stops import explain_interruptions
from utils.store import Split


@distributed.torchrun_main
def main() -> int:
    with distributed.main_rank_only():  # all ranks read the options, the main rank alone prints
        args, settings = arguments.train(__doc__)
    distributed.connect(settings.train.timeout)
    device = choose_device(args.device)
    set_matrix_precision(settings.train.matrix_precision)
    if args.phase == "test":
        return validate.test(args.weights, args.work_dir, settings, device)
    folder = Path(args.work_dir or f"work_dir/{settings.data.split}")
    resume = args.resume or (args.resume_or_start and holds_run(folder))
    with explain_interruptions(folder, settings.train.timeout):
        train(folder, resume, settings, device)
    return 0


def train(folder: Path, resume: bool, settings: Settings, device: torch.device) -> None:
    """Train a new or resumed run, and write its results."""
    # 1. Data: training clips with video-level labels, validation clips with frame labels. Evaluation follows two
    #    protocols: a corrected one, and that of the code released with the paper (docs/released.md)
    split = Split.open(settings.data.root, settings.data.split)
    clips, held_out = training_clips(split, settings)
    round_frames = settings.train.compile or uses_cuda_graphs(settings, device)
    validation = validate.Validation(split, settings, device)
    print(validation.clips.summary())
    validate.warn_of_empty_classes(clips, validation.clips)

    with open_run(folder, resume, settings, clips) as (run, checkpoint):
        # 2. Model, optimizer and pseudo-labels
        state = new_state(clips, settings, device)
        if checkpoint:
            state.load_state_dict(checkpoint, str(folder))
            checkpoint.clear()  # or the pseudo-label history would be in memory twice
        first_epoch = state.pseudo_labels.epochs  # the number of epochs that are done
        network = for_training(state.model, settings, device)
        writer = TensorBoardWriter(folder, settings, first_epoch + 1) if run else None

        # 3. Epochs
        for epoch in range(first_epoch, settings.train.epochs):
            loader = train_loader(clips, settings, epoch, state.pseudo_labels.labelled().numpy(), round_frames)
            row = train_epoch(network, loader, state, settings, epoch, device)
            if epoch + 1 == settings.train.epochs or (epoch + 1) % settings.eval.every == 0:
                evaluations = validation.evaluate(state.model)
                if run:
                    row |= {evaluation.protocol: validate.epoch_metrics(evaluation) for evaluation in evaluations}
                    validation.show(writer, evaluations.corrected, row["epoch"])
            if held_out:
                row["held_out_classification_mAP"] = validate.video_label_score(state.model, held_out, settings, device)
            if run:
                writer.scalars(row)
                writer.histogram("pseudo-label confidence", state.pseudo_labels.confidence().numpy(), row["epoch"])
                run.record(row, state.state_dict())
                print(epoch_line(row, settings))

        # 4. Results: those of the last epoch. The best validation epoch is reported beside them
        if first_epoch == settings.train.epochs:  # no epoch was left; otherwise the last one was evaluated above
            evaluations = validation.evaluate(state.model)
        if run:
            writer.close()
            oracle = validate.oracle_epoch(run.rows, settings.train.epochs, evaluations.corrected)
            validation.report(folder, evaluations, {"oracle_epoch": oracle}, run_folder=folder)


@contextmanager
def open_run(
    folder: Path, resume: bool, settings: Settings, clips: SkeletonClips
) -> Iterator[tuple[Run | None, dict[str, Any] | None]]:
    """The run (main rank only), and the checkpoint to resume from, if any. The `with` block locks the run's folder."""
    if not distributed.is_main():
        yield None, distributed.broadcast(None)
        return
    with lock_run(folder, resume):
        checkpoint = last_good(folder) if resume else None
        run = Run(folder, settings, clips.identity(), resume, checkpoint)
        yield run, distributed.broadcast(checkpoint)


def new_state(clips: SkeletonClips, settings: Settings, device: torch.device) -> TrainingState:
    """A model with random weights, its optimizer, and pseudo-labels without a history."""
    torch.manual_seed(settings.train.seed)
    model = Localizer(len(clips.classes), settings.model).in_precision(settings.train.precision).to(device)
    if settings.train.sync_batch_norm:
        synchronize_batch_norm(model)
    fused = device.type == "cuda"  # one GPU kernel updates many parameters
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=settings.train.weight_decay, fused=fused)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(clips.classes)} classes, {parameters:,} parameters, on {device_name(device)}")
    return TrainingState(model, optimizer, make_pseudo_labels(clips, settings))


def for_training(model: Localizer, settings: Settings, device: torch.device) -> nn.Module:
    """`model` with compiled blocks or CUDA graphs, if the settings say so, and wrapped for several ranks."""
    if settings.train.compile:
        compile_blocks(model.backbone.blocks, settings.train)
    network = CUDAGraphs(model) if uses_cuda_graphs(settings, device) else model
    return distributed.wrap(network, device, own_statistics=not settings.train.sync_batch_norm)


def train_epoch(
    network: nn.Module, loader: Loader, state: TrainingState, settings: Settings, epoch: int, device: torch.device
) -> dict[str, Any]:
    """One pass over the training clips. Returns the mean of each loss term, the learning rate and the speed.

    Args:
        network: the model, or a wrapper around it.
        loader: yields pairs: a micro-batch of this rank, and its plan, which has the weights of the losses. Its items
            are the plans.

    Raises:
        UserError: a loss is not finite; then nothing of this epoch is saved.
    """
    optimizer, pseudo_labels, began = state.optimizer, state.pseudo_labels, time.monotonic()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(settings.train, epoch)
    # For your own random layers, such as dropout: the numbers do not depend on where a run was resumed
    torch.manual_seed(settings.train.seed + 1000 * epoch + distributed.rank())
    network.train()

    refining = settings.train.supervised or epoch >= settings.refine.start
    losses = EpochLosses(epoch, loader.clips.clip_ids)
    title = f"epoch {epoch + 1}/{settings.train.epochs}"
    for batch, plan in progress(loader, title, "batch", silent=not distributed.is_main()):
        if refining:
            batch = replace(batch, pseudo=pseudo_labels.batch(batch.index, plan.padded_frames))
        batch = batch.to(device)
        with distributed.gradient_exchange(network, enabled=plan.ends_step):
            output = network(batch.joints, batch.mask, batch.lengths)
            terms = objective(output, batch.video_labels, batch.mask, batch.pseudo, settings, plan.loss_normalization)
            (distributed.size() * terms["total"]).backward()  # the ranks average gradients, but their sum is needed
        losses.add(terms, batch.index)
        if plan.ends_step:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        pseudo_labels.add(batch.index, output.views[0].frame_probs)
        del output, terms  # while their autograd graph exists, CUDA cannot capture the next batch
    distributed.broadcast_buffers(state.model)  # the running statistics of the main rank, which are saved
    totals = losses.totals()  # waits for all ranks
    distributed.end_passes()
    pseudo_labels.end_epoch()
    seconds = time.monotonic() - began
    steps, frames = sum(plan.ends_step for plan in loader.items), sum(plan.frames for plan in loader.items)
    return {
        "epoch": epoch + 1,  # from 1 in everything that users read
        "loss": {name: total / steps for name, total in totals.items()},
        "learning_rate": optimizer.param_groups[0]["lr"],
        "seconds": round(seconds, 3),
        "frames_per_second": round(frames / seconds, 1),
    }


def learning_rate(train: TrainSettings, epoch: int) -> float:
    """Adam's learning rate in an epoch, counted from 0. Constant, or half a cosine wave (Loshchilov & Hutter 2017)."""
    if train.schedule == "constant":
        return train.learning_rate
    return train.learning_rate * (1 + math.cos(math.pi * epoch / train.epochs)) / 2


def make_pseudo_labels(clips: SkeletonClips, settings: Settings) -> PseudoLabels:
    """Pseudo-labels from the network's scores in earlier epochs. With `train.supervised`: the true frame labels."""
    if settings.train.supervised:
        return FrameLabels(clips.all_frame_labels(), settings.refine)
    pieces, refine = None, settings.refine
    if refine.change_penalty:
        indices = progress(range(len(clips)), "find change points", "clip", silent=not distributed.is_main())
        joints = map(clips.joints, indices)
        pieces = find_pieces(joints, refine.change_penalty, refine.neighbours, mirrored=settings.data.mirror > 0)
    return PseudoLabels(torch.from_numpy(clips.lengths), torch.from_numpy(clips.video_labels), refine, pieces)


if __name__ == "__main__":
    run_command(main)
