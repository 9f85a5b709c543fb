"""Settings, store, run folder, distributed training, errors. Every command imports this package first.

If a required package is not installed, the command ends here, with one line that says what to do.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

REQUIRED = (  # import names of requirements.txt, without av, which writes .mp4 only
    "torch", "numpy", "scipy", "smplx", "pydantic", "yaml", "sklearn", "tensorboard", "jinja2", "matplotlib", "PIL",
    "tqdm",
)  # fmt: skip


def _require_packages() -> None:
    root = Path(__file__).parents[1]
    missing = [name for name in REQUIRED if find_spec(name) is None]
    if not missing:
        return
    if Path(sys.prefix) == root / ".venv":
        remedy = f"install what is missing: python -m pip install -r {os.path.relpath(root / 'requirements.txt')}"
    elif (root / ".venv").is_dir():
        remedy = f"activate the environment: source {os.path.relpath(root / '.venv')}/bin/activate"
    else:
        remedy = "make the environment .venv: bash prepare/demo.sh; or install requirements.txt in your own"
    others = f" and {len(missing) - 1} other packages" if missing[1:] else ""
    print(f"error: {sys.executable} does not find {missing[0]}{others}; {remedy}", file=sys.stderr)
    sys.exit(2)


_require_packages()
