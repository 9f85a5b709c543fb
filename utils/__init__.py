"""Settings, store, run folder, distributed training, errors. Every command imports this package first.

If a required package is not installed, the command ends here, with one line that says what to do.
"""

import sys
from importlib.util import find_spec

REQUIRED = (  # import names of requirements.txt, without av, which writes .mp4 only
    "torch", "numpy", "scipy", "smplx", "pydantic", "yaml", "sklearn", "tensorboard", "jinja2", "matplotlib", "PIL",
    "tqdm",
)  # fmt: skip

if missing := [name for name in REQUIRED if find_spec(name) is None]:
    others = f" and {len(missing) - 1} more" if missing[1:] else ""
    remedy = "activate the environment (source .venv/bin/activate), or install requirements.txt in your own"
    print(f"error: {sys.executable} does not find {missing[0]}{others}; {remedy}", file=sys.stderr)
    sys.exit(2)
