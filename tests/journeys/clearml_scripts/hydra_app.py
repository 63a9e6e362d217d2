"""A job of hydra, which begins its task itself."""

from __future__ import annotations

import hydra
from clearml import Task


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config):
    Task.init("examples", "hydra app", reuse_last_task_id=False)
    if config.lr == "boom":
        raise ValueError("too much")
    print(config.name, config.lr, config.get("more", 0))


if __name__ == "__main__":
    main()
