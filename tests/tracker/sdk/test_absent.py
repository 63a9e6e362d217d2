"""What is not here can be imported, and says at its first use why it is not, and what to use."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

import tracker
from tracker import UsageError, automation


@pytest.mark.parametrize("name", ["Dataset", "PipelineController", "PipelineDecorator"])
def test_absent_name_is_imported_and_refuses_every_use(name: str) -> None:
    """Calls, class methods and decorators alike; a script that only names it runs."""
    kind = getattr(tracker, name)
    assert isinstance(kind, type)
    assert not isinstance(1, kind)
    assert kind.__name__ == name
    found: Any = getattr(tracker, name)
    for use in (found, lambda: found(name="x"), lambda: found.get("x"), lambda: found.component(cache=True)):
        with pytest.raises(UsageError, match=f"{name} is not here: .* Use "):
            use()


def test_automation_has_clearmls_names_and_no_others() -> None:
    """Its submodules are no modules, so that a script's `try: import` goes on to the next."""
    assert set(dir(automation)) > {"HyperParameterOptimizer", "TaskScheduler", "UniformParameterRange"}
    for name in dir(automation):
        found: Any = getattr(automation, name)
        with pytest.raises(UsageError, match=f"{name} is not here: .* Use "):
            found()
    with pytest.raises(AttributeError):
        _ = automation.anything
    with pytest.raises(ImportError):
        import_optuna()


def import_optuna() -> None:
    """As ClearML's examples do."""
    from importlib import import_module

    import_module("tracker.automation.optuna")


def test_importing_the_package_does_not_load_them() -> None:
    """They cost nothing until they are named."""
    code = (
        "import sys, tracker; print('tracker.sdk.absent' in sys.modules, 'tracker.automation' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.split() == ["False", "False"]
