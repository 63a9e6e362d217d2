"""Scores a model that train_digits.py saved on the images that its training never saw.

Loading a model runs whatever code it holds: score only what you trust.
"""

from __future__ import annotations

import sys

import joblib
import numpy as np


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: python score_model.py MODEL.joblib DIGITS.npz")
    model, data = joblib.load(sys.argv[1]), np.load(sys.argv[2])
    test = data["test"]
    accuracy = model.score(data["images"][test] / 16.0, data["labels"][test])
    print(f"accuracy on {len(test)} held-out images: {accuracy}")


if __name__ == "__main__":
    main()
