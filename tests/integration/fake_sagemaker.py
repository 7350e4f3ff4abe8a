"""python -m tests.integration.fake_sagemaker: sagemaker_local with a tiny algorithm instead of the real one."""

from __future__ import annotations

import sys
from pathlib import Path

from sagemaker_local.__main__ import main
from sagemaker_local.images import Algorithm, Metric

_SCRIPT = str(Path(__file__).with_name("fake_algorithm.py"))
_ALGORITHM = Algorithm(
    train=(sys.executable, _SCRIPT, "train"),
    serve=(sys.executable, _SCRIPT, "serve"),
    metrics=(Metric(name="validation:mIOU", pattern=r"validation:mIOU=([0-9.]+)"),),
)

if __name__ == "__main__":
    sys.exit(main(images={"semantic-segmentation": _ALGORITHM, "segmenter": _ALGORITHM, "fake": _ALGORITHM}))
