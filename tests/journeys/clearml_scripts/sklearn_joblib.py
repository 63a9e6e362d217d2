"""A classifier that joblib writes and reads, and a figure of what it decides."""

from __future__ import annotations

import joblib
import matplotlib.pyplot as plt
import numpy as np
from clearml import Task
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

task = Task.init("examples", "sklearn with joblib")
data, labels = load_iris(return_X_y=True)
model = LogisticRegression(max_iter=500).fit(data, labels)
joblib.dump(model, "model.pkl", compress=True)
again = joblib.load("model.pkl")
assert np.array_equal(model.predict(data), again.predict(data))
plt.figure()
plt.scatter(data[:, 0], data[:, 1], c=again.predict(data))
plt.show()
