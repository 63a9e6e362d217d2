"""Boosted trees: what each round evaluates, and the file of the booster."""

from __future__ import annotations

import numpy as np
import xgboost as xgb
from clearml import Task

task = Task.init(project_name="examples", task_name="xgboost metrics")
rng = np.random.default_rng(1)
features = rng.random((200, 4))
target = features @ np.array([1.0, 2.0, 0.5, 0.0])
train = xgb.DMatrix(features[:150], label=target[:150])
test = xgb.DMatrix(features[150:], label=target[150:])
booster = xgb.train(
    {"objective": "reg:squarederror", "eval_metric": "rmse", "nthread": 1},
    train,
    num_boost_round=100,
    evals=[(train, "train"), (test, "test")],
    verbose_eval=False,
)
booster.save_model("best_model.json")
regressor = xgb.XGBRegressor(n_estimators=5, n_jobs=1)
regressor.fit(features[:150], target[:150], eval_set=[(features[150:], target[150:])], verbose=False)
