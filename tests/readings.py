"""One motion to write into files of several formats, and how such a file is read or refused."""

from pathlib import Path

import motions
import numpy as np
import pytest

from prepare.skeletons.recordings import ReadOptions, read_recording
from utils.errors import TakeError

POSES = motions.poses(2.0, 60.0)
JOINTS = motions.joints_of(POSES[::2])  # what every file of these poses has to give
PLAIN = ReadOptions(body="synthetic")
THIRTY = ReadOptions(body="synthetic", fps=30.0)


def read(path: Path, options: ReadOptions = PLAIN) -> np.ndarray:
    (person,) = read_recording(path, options)
    assert person.joints.dtype == np.float32
    return person.joints


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def refusal(path: Path, options: ReadOptions = PLAIN) -> str:
    with pytest.raises(TakeError) as error:
        read_recording(path, options)
    assert "\n" not in str(error.value)
    return str(error.value)
