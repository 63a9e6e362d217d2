"""Trains a small neural network on scikit-learn's images of handwritten digits, and records the run.

With ClearML only the line that imports Task would differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support
from sklearn.neural_network import MLPClassifier

from tracker import OutputModel, Task

LABELS = [str(digit) for digit in range(10)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=32, help="units of the hidden layer")
    parser.add_argument("--alpha", type=float, default=1e-4, help="strength of the L2 penalty")
    parser.add_argument("--lr", type=float, default=3e-3, help="learning rate")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("digits.npz"), help="made if it is not there")
    parser.add_argument("--model", type=Path, default=Path("model.joblib"), help="where to write the model")
    return parser.parse_args()


def make_data(path: Path) -> None:
    """Writes the images with a fixed split: the same bytes each time."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    train, validation, test = np.split(order, [1197, 1497])
    np.savez(
        path,
        images=digits.data.astype(np.uint8),
        labels=digits.target,
        train=train,
        validation=validation,
        test=test,
    )


def main() -> None:
    args = parse_arguments()
    task = Task.init(
        project_name="demo/digits",
        task_name=f"{args.hidden} units, lr {args.lr:g}",
        tags=["demo", "scikit-learn"],
        reuse_last_task_id=False,
    )
    logger = task.get_logger()

    if not args.data.exists():
        make_data(args.data)
    task.upload_artifact("dataset", args.data, metadata={"source": "sklearn.datasets.load_digits"})
    data = np.load(args.data)
    x, y = data["images"] / 16.0, data["labels"]
    train, validation, test = data["train"], data["validation"], data["test"]

    model = MLPClassifier(
        hidden_layer_sizes=(args.hidden,),
        alpha=args.alpha,
        learning_rate_init=args.lr,
        batch_size=args.batch,
        random_state=args.seed,
    )
    for epoch in range(args.epochs):
        model.partial_fit(x[train], y[train], classes=np.arange(10))
        loss = log_loss(y[train], model.predict_proba(x[train]))
        on_train, on_validation = model.score(x[train], y[train]), model.score(x[validation], y[validation])
        logger.report_scalar("loss", "train", loss, iteration=epoch)
        logger.report_scalar("accuracy", "train", on_train, iteration=epoch)
        logger.report_scalar("accuracy", "validation", on_validation, iteration=epoch)
        print(f"epoch {epoch + 1:2d}  loss {loss:.4f}  train {on_train:.4f}  validation {on_validation:.4f}")

    predicted = model.predict(x[test])
    logger.report_confusion_matrix(
        "confusion",
        "test",
        matrix=confusion_matrix(y[test], predicted),
        iteration=args.epochs - 1,
        xaxis="predicted",
        yaxis="true",
        xlabels=LABELS,
        ylabels=LABELS,
    )
    precision, recall, f1, images = precision_recall_fscore_support(y[test], predicted, zero_division=0.0)
    columns = {"precision": precision, "recall": recall, "f1": f1, "images": images}
    task.upload_artifact("per digit", pd.DataFrame(columns, index=LABELS))

    accuracy = model.score(x[test], y[test])
    logger.report_single_value("test_accuracy", accuracy)
    joblib.dump(model, args.model)
    OutputModel(task=task, framework="ScikitLearn").update_weights(str(args.model))
    print(f"test accuracy {accuracy:.4f}")
    task.close()


if __name__ == "__main__":
    main()
