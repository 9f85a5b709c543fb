"""Train a localizer from video-level labels, evaluate it, and keep everything in one run folder.

    python train.py --config config/train_split1.yaml                       # train, then evaluate
    python train.py --config config/train_split1.yaml --resume              # go on where it stopped
    python train.py --config config/train_split1.yaml --phase test --weights work_dir/split1/best.pt
    torchrun --nproc_per_node 4 train.py --config config/train_split1.yaml  # on 4 GPUs or groups of CPU cores
    tensorboard --logdir work_dir                                           # look

A run is: data → model → epochs (a pass over the training clips, validation, checkpoint) → results.json.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from utils.threads import waiting

os.environ.update(waiting())  # before torch

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from feeders.augment import augment
from feeders.batches import Batch, TrainBatches, loader
from feeders.dataset import SkeletonClips, hold_out
from feeders.label_policy import LabelPolicy
from feeders.parts import Parts
from model.agcn import FrameBatchNorm
from model.checkpoint import load_localizer, restore
from model.localizer import Localizer, frame_probabilities
from model.losses import Portion, objective
from model.refinement import FrameLabels, PseudoLabels
from reporting.tensorboard import TensorBoardWriter
from utils import config, distributed
from utils.config import Settings, TrainSettings
from utils.device import choose_device, is_out_of_memory
from utils.errors import UserError, run_command
from utils.run import Run, seed_everything
from utils.store import Split
from validate import Validation, report, summary, video_label_score


def main() -> int:
    with distributed.silent_unless_main():
        args = parse_arguments()
    settings = config.load(args.config, args.set)
    device = choose_device(args.device)
    if args.phase == "test":
        return test(args, settings, device)
    stop = signal.default_int_handler if distributed.is_main() else signal.SIG_DFL  # other ranks die without a word
    signal.signal(signal.SIGTERM, stop)  # a cluster's "stop" is treated as Ctrl-C
    signal.signal(signal.SIGINT, stop)
    folder = Path(args.work_dir or f"work_dir/{settings.data.split}")
    try:
        return train_or_explain(folder, args.resume, settings, device)
    except KeyboardInterrupt:
        if distributed.is_first_to_fail():  # or else torchrun stops this process because of another one
            print(f"\nstopped; {how_to_go_on(folder)}", file=sys.stderr)
        return 130


def train_or_explain(folder: Path, resume: bool, settings: Settings, device: torch.device) -> int:
    """Train; what a user can do something about becomes a UserError that says how to go on."""
    try:
        return train(folder, resume, settings, device)
    except OSError as error:  # a full disk, most likely
        named = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{named}{error.strerror or error}; {how_to_go_on(folder)}") from error
    except (MemoryError, RuntimeError) as error:
        if distributed.is_loss_of_a_rank(error):
            raise UserError(
                f"another process of this training was killed, or its machine lost; {how_to_go_on(folder)}"
            ) from error
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"out of memory ({str(error).splitlines()[0]}); data.workers=0 needs less, and so does "
            f"train.accumulate=2 or a smaller train.batch_size in another --work-dir; {how_to_go_on(folder)}"
        ) from error


def train(folder: Path, resume: bool, settings: Settings, device: torch.device) -> int:
    # 1. Data: training clips with their video-level labels, validation clips with frame labels
    split = Split.open(settings.data.root, settings.data.split)
    policy = LabelPolicy.of(settings.data)
    clips = SkeletonClips(split, "train", policy, settings.data.normalization)
    clips, held_out = hold_out(clips, settings.data.holdout, settings.train.seed)
    validation = Validation(split, settings, device)
    warn_of_empty_classes(clips, validation.corrected)
    run = Run(folder, settings, resume) if distributed.is_main() else None
    resumed = distributed.from_main(run and run.resumed)

    # 2. The model, and what trains it
    seed_everything(settings.train.seed)
    model = Localizer(len(split.classes), settings.model).in_precision(settings.train.precision).to(device)
    adam = torch.optim.Adam(
        model.parameters(), lr=settings.train.learning_rate, weight_decay=settings.train.weight_decay
    )
    pseudo_labels = teacher(clips, settings)
    order = TrainBatches(
        clips.lengths,
        settings.train.batch_size,
        settings.train.seed,
        settings.data.bucketing,
        settings.data.bucket_noise,
        settings.data.drop_last,
    )
    parts = Parts(order, settings.train.accumulate, distributed.rank(), distributed.size())
    batches = loader(clips, parts, settings.data.workers, device)
    identity = {"classes": list(split.classes), "store": split.store.digest, "clips": len(clips)}
    first_epoch, best_score = 0, -math.inf
    if resumed:
        refuse_other_data(resumed, folder, identity)
        restore(resumed, str(folder), model, adam, pseudo_labels)
        first_epoch, best_score = resumed["epoch"] + 1, resumed["best_score"]
    for norm in (module for module in model.modules() if isinstance(module, FrameBatchNorm)):
        norm.over_ranks = settings.train.sync_batch_norm
    network = distributed.wrap(model, device, own_statistics=not settings.train.sync_batch_norm)
    writer = TensorBoardWriter(folder, settings, first_epoch) if run else None

    # 3. Epochs
    for epoch in range(first_epoch, settings.train.epochs):
        order.epoch = epoch
        for group in adam.param_groups:
            group["lr"] = learning_rate(settings.train, epoch)
        row = {"epoch": epoch, **train_epoch(network, batches, adam, pseudo_labels, settings, epoch, device)}
        score = -math.inf
        if epoch == settings.train.epochs - 1 or (epoch + 1) % settings.eval.every == 0:
            evaluations = validation.evaluate(model)
            if run:
                corrected, released = evaluations
                row |= {"corrected": summary(corrected), "released": summary(released)}
                score = corrected.average_map
                validation.show(writer, corrected, epoch)
        if held_out:
            score = row["held_out_classification_mAP"] = video_label_score(model, held_out, settings, device)
        if not run:
            continue  # the main rank alone writes
        writer.scalars(row)
        writer.histogram("pseudo-label confidence", pseudo_labels.confidence().numpy(), epoch)
        run.log(row)
        weights = {"model": model.state_dict(), "settings": settings.model_dump(), "epoch": epoch, **identity}
        if score > best_score:
            best_score = score
            run.save_best(weights)
        state = {"optimizer": adam.state_dict(), "pseudo_labels": pseudo_labels.state_dict()}
        run.save({**weights, **state, "best_score": best_score})
        tqdm.write(epoch_line(row, settings.train.epochs))

    # 4. Results: the last epoch's are the headline, the best validation epoch stands beside them
    if first_epoch >= settings.train.epochs:
        evaluations = validation.evaluate(model)
    if not run:
        return 0
    corrected, released = evaluations
    scored = [row for row in run.history() if "corrected" in row]
    if first_epoch >= settings.train.epochs:
        scored.append({"epoch": first_epoch - 1, "corrected": summary(corrected)})
    oracle = max(scored, key=lambda row: row["corrected"]["mAP"])
    writer.close()
    report(run.folder, validation, settings, corrected, released, {"oracle_epoch": oracle}, run.folder)
    print(
        f"oracle epoch {oracle['epoch']}: average mAP {oracle['corrected']['mAP']:.2f} "
        "(the best validation epoch; not a fair result)"
    )
    return 0


def learning_rate(train: TrainSettings, epoch: int) -> float:
    """Adam's rate in an epoch: constant, or falling by half a cosine wave (Loshchilov & Hutter 2017)."""
    if train.schedule == "constant":
        return train.learning_rate
    return train.learning_rate * (1 + math.cos(math.pi * epoch / train.epochs)) / 2


def teacher(clips: SkeletonClips, settings: Settings) -> PseudoLabels:
    """What teaches frames: the network's own history, or, for the fully-supervised bound alone, the true labels."""
    if settings.train.supervised:
        labels = [torch.from_numpy(clips.frame_labels(i).copy()) for i in range(len(clips))]
        return FrameLabels(labels, settings.refine.history)
    refine = settings.refine
    lengths, video_labels = torch.from_numpy(clips.lengths), torch.from_numpy(clips.video_labels)
    return PseudoLabels(
        lengths,
        video_labels,
        refine.history,
        refine.mask_absent,
        refine.zero_start,
        refine.balance,
        refine.sharpen,
    )


def train_epoch(
    network: torch.nn.Module,
    batches: DataLoader,
    adam: torch.optim.Optimizer,
    pseudo_labels: PseudoLabels,
    settings: Settings,
    epoch: int,
    device: torch.device,
) -> dict[str, Any]:
    """One pass over the training clips; returns the mean of each loss term, the rate and the speed.

    `network` is the model, or DistributedDataParallel around it, and `batches` load `Parts` of a step's batch.

    Raises:
        UserError: the loss is not finite; nothing has been saved since the last good epoch.
    """
    network.train()
    parts, lengths, known = batches.batch_sampler, pseudo_labels.lengths, pseudo_labels.known()
    adam.zero_grad(set_to_none=True)
    sums: dict[str, float] = defaultdict(float)
    frames, steps, began = 0, 0, time.monotonic()
    progress = tqdm(
        batches,
        desc=f"epoch {epoch + 1}/{settings.train.epochs}",
        unit="batch",
        leave=False,
        disable=distributed.no_bar(),
    )
    for part, batch in zip(parts.of_epoch(), progress, strict=True):
        longest = 0 if settings.model.mask_padding else int(lengths[part.step].max())
        batch = batch.fit(len(part.own), longest)
        batch = augment(batch, settings.data.mirror, settings.data.scale, settings.train.seed, epoch).to(device)
        distributed.exchange_gradients(network, now=part.last)
        output = network(batch.joints, batch.mask)
        taught = settings.train.supervised or epoch >= settings.refine.start
        pseudo = pseudo_labels.batch(batch.index, batch.mask.shape[1]) if taught else None
        portion = Portion.of(part.own, part.together, part.step, lengths, known, settings.model.mask_padding)
        terms = objective(output, batch.video_labels, batch.mask, pseudo, settings, portion)
        if not math.isfinite(terms["total"].item()):
            stop_on_bad_loss(terms, batch, batches.dataset, epoch)
        (distributed.size() * terms["total"]).backward()  # as the ranks' gradients are averaged, not added
        if part.last:
            adam.step()
            adam.zero_grad(set_to_none=True)
        pseudo_labels.record(batch.index, frame_probabilities(output.views[0]))
        for name, value in terms.items():
            sums[name] += value.item()
        frames += int(lengths[part.together].sum())
        steps += part.last
    pseudo_labels.end_epoch()
    totals = distributed.add_up(torch.tensor(list(sums.values()), dtype=torch.float64)).tolist()
    seconds = time.monotonic() - began
    return {
        "loss": {name: total / steps for name, total in zip(sums, totals, strict=True)},
        "learning_rate": adam.param_groups[0]["lr"],
        "seconds": round(seconds, 3),
        "frames_per_second": round(frames / seconds, 1),
    }


def test(args: argparse.Namespace, settings: Settings, device: torch.device) -> int:
    """Evaluate given weights: what was trained travels with them, where the data lies comes from the settings."""
    if not args.weights:
        raise UserError("--phase test needs --weights FILE, such as work_dir/split1/best.pt")
    weights = Path(args.weights)
    split = Split.open(settings.data.root, settings.data.split)
    model, settings = load_localizer(weights, split.classes, settings)
    folder = Path(args.work_dir) if args.work_dir else weights.parent / "eval"
    print(f"{weights}: width {settings.model.width}, {settings.data.normalization} normalization, on {split.folder}")
    validation = Validation(split, settings, device)
    evaluations = validation.evaluate(model.in_precision(settings.train.precision).to(device))
    if not distributed.is_main():
        return 0
    corrected, released = evaluations
    folder.mkdir(parents=True, exist_ok=True)
    report(folder, validation, settings, corrected, released, {"weights": str(weights)}, weights.parent)
    return 0


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch in a line."""
    line = f"epoch {row['epoch'] + 1}/{epochs}  loss {row['loss']['total']:.4f}"
    if "corrected" in row:
        scores = row["corrected"]
        line += f"  mAP {scores['mAP']:.2f}  classification mAP {scores['classification_mAP']:.2f}"
    return f"{line}  {row['frames_per_second']:.0f} frames/s"


def warn_of_empty_classes(clips: SkeletonClips, validation: SkeletonClips) -> None:
    """Say which classes cannot be learnt, or cannot be scored."""
    for data, what in ((clips, "cannot be learnt"), (validation, "is left out of every mean")):
        for name, present in zip(data.classes, data.video_labels.any(axis=0), strict=True):
            if not present:
                print(f"warning: no {data.subset} clip has the class {name!r}: it {what}")


def how_to_go_on(folder: Path) -> str:
    """The end of a message about a training that stopped."""
    again = shlex.join(argument for argument in sys.argv if argument != "--resume")
    by = f"torchrun --nproc_per_node {distributed.size()}" if distributed.size() > 1 else "python"
    if not (folder / "config.yaml").exists():
        return f"nothing had begun. Start with: {by} {again}"
    return f"every finished epoch is kept. Go on with: {by} {again} --resume"


def refuse_other_data(resumed: dict[str, Any], folder: Path, identity: dict[str, Any]) -> None:
    """A run goes on with the data that it was started with, or not at all."""
    for name, value in identity.items():
        if resumed[name] != value:
            raise UserError(
                f"{folder}: was trained on data whose {name} were {resumed[name]!r}, now {value!r}; "
                "restore that data, or start anew in another --work-dir"
            )


def stop_on_bad_loss(terms: dict[str, Tensor], batch: Batch, clips: SkeletonClips, epoch: int) -> None:
    """Stop, and say where the trouble came from."""
    listed = ", ".join(f"{name} {value.item():g}" for name, value in terms.items())
    names = ", ".join(clips.clip_ids[i] for i in batch.index.tolist())
    raise UserError(
        f"epoch {epoch}: the loss is not finite ({listed}) on clips {names}. The last good epoch is kept in last.pt; "
        "look at these clips, or resume with a lower train.learning_rate in another --work-dir"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="FILE",
        help="layers over config/base.yaml; later ones win (default: none)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="GROUP.NAME=VALUE",
        help="any setting, over all files, as in --set train.epochs=20 model.width=16",
    )
    parser.add_argument("--work-dir", metavar="FOLDER", help="the run's folder (default: work_dir/<split>)")
    parser.add_argument(
        "--phase", choices=("train", "test"), default="train", help="train, or evaluate --weights (default: train)"
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="what --phase test evaluates: a .pt of this or the released code"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --work-dir")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: the GPU when there is one)")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(distributed.member(main))
