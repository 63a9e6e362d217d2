"""The Task page's examples of making, finding, copying, continuing and carrying tasks, each run as a user would.

Those of artifacts and models are in test_page_artifacts_and_models.py, those of parameters in test_rerun.py. Where this
program decided against the page (docs/clearml-compat.md says so), what is tested is the decision.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import QUIET, Scripts


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    """A folder to run scripts in, with nothing in it."""
    return Scripts(tmp_path)


# --- creation --------------------------------------------------------------------------------------------------------


def test_init_with_every_argument_makes_a_task_that_knows_its_code(scripts: Scripts) -> None:
    """Code, packages and arguments are there without being asked for, and any function finds the task."""
    found = scripts.ask("""
        import argparse
        from tracker import Task
        task = Task.init(
            project_name='example',  # project name of at least 3 characters
            task_name='task template',  # task name of at least 3 characters
            task_type=None,
            tags=None,
            reuse_last_task_id=True,
            continue_last_task=False,
            output_uri=None,
            auto_connect_arg_parser=True,
            auto_connect_frameworks=True,
            auto_resource_monitoring=True,
            auto_connect_streams=True,
        )
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int, default=7)
        parser.parse_args()
        def anywhere():
            return Task.current_task().id
        same = anywhere() == task.id
        print("said on the way")
        task.close()
        read = Task.get_task(task_id=task.id)
        script = read.get_script()
        answer = [same, read.task_type, read.get_tags(), read.status, read.get_parameters(), Task.current_task(),
                  script["entry_point"], "task_name='task template'" in read.data.script.diff,
                  "# Python " in read.data.script.requirements["pip"],
                  "said on the way" in "".join(read.get_reported_console_output(10))]
    """)
    assert found[:6] == [True, "training", [], "completed", {"Args/epochs": "7"}, None]
    assert found[6:] == ["script1.py", True, True, True]


def test_names_under_three_characters_are_refused(scripts: Scripts) -> None:
    """Of projects and tasks, with an error that says so."""
    found = scripts.ask("""
        answer = []
        for project, name in (("ab", "task"), ("project", "ab"), ("  ab ", "task")):
            try:
                Task.init(project, name)
            except ValueError as error:
                answer.append("3 characters" in str(error))
    """)
    assert found == [True, True, True]


def test_projects_have_projects_inside_on_many_levels(scripts: Scripts) -> None:
    """They come into being with their first task, with all those above them."""
    found = scripts.ask(f"""
        task = Task.init(project_name='main_project/sub_project', task_name='test', {QUIET})
        task.close()
        deeper = Task.init(project_name='main_project/sub_project/sub_sub_project', task_name='test', {QUIET})
        deeper.close()
        inside = Task.get_tasks(project_name="main_project", task_filter={{"include_subprojects": True}})
        answer = [task.get_project_name(), deeper.get_project_name(), len(inside),
                  sorted(each.name for each in Task.get_projects())]
    """)
    assert found[:3] == ["main_project/sub_project", "main_project/sub_project/sub_sub_project", 2]
    assert {"main_project/sub_project", "main_project/sub_project/sub_sub_project"} <= set(found[3])


def test_frameworks_are_switched_one_by_one(scripts: Scripts) -> None:
    """The page's dict, with every framework that it names, is taken; so is False."""
    ended = scripts.run("""
        from tracker import Task
        task = Task.init("examples", "switches", auto_connect_frameworks={
            'matplotlib': True, 'tensorflow': False, 'tensorboard': False, 'pytorch': True,
            'xgboost': False, 'scikit': True, 'fastai': True, 'lightgbm': False,
            'hydra': True, 'detect_repository': True, 'tfdefines': True, 'joblib': True,
            'megengine': True, 'jsonargparse': True, 'catboost': True
        })
        task.close()
        Task.init("examples", "none", auto_connect_frameworks=False).close()
        Task.init("examples", "no code", auto_connect_frameworks={'detect_repository': False}).close()
        codes = [bool(t.data.script.diff) for t in Task.get_tasks(task_filter={"order_by": ["created"]})]
        import json
        print(json.dumps(codes))
    """)
    assert ended.warnings == []
    assert ended.value == [True, True, False]


def test_tasks_follow_each_other_in_a_process(scripts: Scripts) -> None:
    """Each is closed before the next one begins; before that, another one is refused."""
    found = scripts.ask(f"""
        ids = []
        for number in range(3):
            task = Task.init("examples", f"run {{number}}", {QUIET})
            task.get_logger().report_scalar("loss", "train", number, 0)
            ids.append(task.id)
            if number < 2:
                task.close()
        try:
            Task.init("examples", "another", {QUIET})
            refused = False
        except UsageError:
            refused = True
        task.close()
        tasks = [Task.get_task(task_id=each) for each in ids]
        answer = [refused, [each.status for each in tasks],
                  [each.get_last_scalar_metrics()["loss"]["train"]["last"] for each in tasks]]
    """)
    assert found == [True, ["completed"] * 3, [0.0, 1.0, 2.0]]


# --- reuse, continuation ---------------------------------------------------------------------------------------------

RUN = f"""
from tracker import Task
import json, sys
given = eval(sys.argv[1])
artifact = given.pop("artifact", None)
task = Task.init(project_name="examples", task_name="again", {QUIET}, **given)
task.get_logger().report_scalar("train", "loss", 0.5, 0)
task.get_logger().report_scalar("train", "loss", 0.5, 100)
if artifact:
    task.upload_artifact("made", artifact)
task.close()
print(json.dumps([task.id, task.get_reported_scalars()["train"]["loss"]["x"]]))
"""


def test_a_task_is_reused_until_it_has_made_something(scripts: Scripts) -> None:
    """Not after 72 hours (configurable), nor with artifacts, nor where the script wants a new one."""
    first, _ = scripts.run(RUN, "{}").value
    again, points = scripts.run(RUN, "{'artifact': {'a': 1}}").value
    after_artifact, _ = scripts.run(RUN, "{}").value
    new, _ = scripts.run(RUN, "{'reuse_last_task_id': False}").value
    late, _ = scripts.run(RUN, "{}", TRACKER_TASK_REUSE_HOURS="0").value
    assert (again, points) == (first, [0, 100])
    assert len({first, after_artifact, new, late}) == 4


def test_a_task_is_continued_in_each_of_the_four_ways(scripts: Scripts) -> None:
    """One iteration after the last that was reported, unless an offset is given; all it had stays."""
    first, _ = scripts.run(RUN, "{'artifact': {'a': 1}}").value
    assert scripts.run(RUN, "{'continue_last_task': True}").value == [first, [0, 100, 101, 201]]
    named = scripts.run(RUN, f"{{'continue_last_task': {first!r}}}").value
    assert named == [first, [0, 100, 101, 201, 202, 302]]
    other, _ = scripts.run(RUN, "{'reuse_last_task_id': False}").value
    offset = f"{{'continue_last_task': 1000, 'reuse_last_task_id': {first!r}}}"
    assert scripts.run(RUN, offset).value == [first, [0, 100, 101, 201, 202, 302, 1000, 1100]]
    none = f"{{'continue_last_task': 0, 'reuse_last_task_id': {other!r}}}"
    assert scripts.run(RUN, none).value == [other, [0, 100]]
    kept = scripts.ask(f"answer = Task.get_task(task_id={first!r}).artifacts['made'].get()")
    assert kept == {"a": 1}


def test_a_task_is_made_without_being_run(scripts: Scripts) -> None:
    """What it is to run is said, not found out; nothing is fetched."""
    found = scripts.ask("""
        task = Task.create(
            project_name='example',
            task_name='task template',
            repo='https://github.com/allegroai/clearml.git',
            branch='master',
            script='examples/reporting/html_reporting.py',
            working_directory='.',
            docker=None,
        )
        script = task.get_script()
        answer = [task.status, task.name, task.get_project_name(), Task.current_task(),
                  [script[name] for name in ("repository", "branch", "entry_point", "working_dir")]]
    """)
    repository = "https://github.com/allegroai/clearml.git"
    code = [repository, "master", "examples/reporting/html_reporting.py", "."]
    assert found == ["created", "task template", "example", None, code]


def test_progress_is_told_and_kept(scripts: Scripts) -> None:
    """Between 0 and 100, while it runs and after it has failed."""
    ended = scripts.run(
        f"""
        from tracker import Task
        task = Task.init(project_name="examples", task_name="Track experiment progress", {QUIET})
        task.set_progress(0)
        # task doing stuff
        task.set_progress(50)
        print(task.get_progress())
        # task doing more stuff
        raise MemoryError
        task.set_progress(100)
        """,
        code=1,
    )
    assert ended.out == "50\n"
    found = scripts.ask("t, = Task.get_tasks(); answer = [t.status, t.get_progress()]")
    assert found == ["failed", 50]


# --- finding ---------------------------------------------------------------------------------------------------------


def test_a_task_is_found_by_id_and_by_names(scripts: Scripts) -> None:
    """By names the one that was changed last; name and project change, the id does not."""
    found = scripts.ask(f"""
        ids = []
        for number in range(2):
            task = Task.init("examples", "artifacts", reuse_last_task_id=False, {QUIET})
            task.get_logger().report_scalar("loss", "train", number, 0)
            ids.append(task.id)
            task.close()
        a_task = Task.get_task(task_id=ids[0])
        by_id = a_task.id == ids[0]
        newest = Task.get_task(project_name='examples', task_name='artifacts').id == ids[1]
        a_task.add_tags(["touched"])
        touched = Task.get_task(project_name='examples', task_name='artifacts').id == ids[0]
        a_task.set_name("renamed"); a_task.move_to_project(new_project_name="elsewhere")
        moved = Task.get_task(project_name="elsewhere", task_name="renamed")
        try:
            Task.get_task(task_id='123456deadbeef')
            unknown = False
        except ValueError:
            unknown = True
        answer = [by_id, newest, touched, moved.id == ids[0], unknown,
                  moved.get_reported_scalars()["loss"]["train"]["y"], moved.status]
    """)
    assert found == [True, True, True, True, True, [0.0], "completed"]


TAGGED = f"""
sets = ["a", "b", "c", "ab", "abc", "cd", "bd", "abcd", "d", "e", "bcd"]
for tags in sets:
    Task.init("tags", f"task {{tags}}", tags=list(tags), reuse_last_task_id=False, {QUIET}).close()
def ask(*tags):
    return sorted(each.name.removeprefix("task ") for each in Task.get_tasks(tags=list(tags)))
"""


def test_tag_filters(scripts: Scripts) -> None:
    """The page's five queries select by the logic that it gives for each; the missing comma of one is an error."""
    found = scripts.ask(
        TAGGED
        + """
answer = [
    ask("a", "b", "c"),
    ask("__$and", "a", "b", "c"),
    ask("__$not", "a", "b", "__$not", "c"),
    ask("-a", "b", "-c"),
    ask("a", "b", "__$and", "c", "d"),
    ask("__$and", "__$or", "a", "b", "__$and", "c", "d"),
]
try:
    ask("__$not", "a", "b", "__$not" "c")
except ValueError as error:
    answer.append("__$notc" in str(error))
"""
    )
    sets = ["a", "b", "c", "ab", "abc", "cd", "bd", "abcd", "d", "e", "bcd"]
    has = {name: set(name) for name in sets}

    def those(fits: object) -> list[str]:
        return sorted(name for name in sets if eval(str(fits), {}, {t: t in has[name] for t in "abcde"}))

    assert found == [
        those("a or b or c"),
        those("a and b and c"),
        those("not a and b and not c"),
        those("not a and b and not c"),
        those("a or b or (c and d)"),
        those("(a or b) and c and d"),
        True,
    ]


def test_tasks_are_found_by_tags_and_filters(scripts: Scripts) -> None:
    """The page's two calls, over tasks that each lack one thing."""
    found = scripts.ask(f"""
        def make(name, tags=(), kind="training", comment="", fails=False):
            task = Task.init("filters", name, kind, tags=list(tags), {QUIET})
            task.set_comment(comment or "nothing")
            task.mark_failed() if fails else task.close()
            return task
        make("reg_exp_text one", ["included_tag"])
        make("by comment", ["included_tag", "excluded_tag"], comment="a reg_exp_text, too")
        make("reg_exp_text of another type", kind="testing")
        make("reg_exp_text failed", fails=True)
        make("reg_exp_text archived").set_archived(True)
        make("something else")
        task_list = Task.get_tasks(
            task_ids=None,  # type Optional[Sequence[str]]
            project_name=None,  # Optional[str]
            task_name=None,  # Optional[str]
            task_filter=None,  # Optional[Dict]#
            # tasks with tag `included_tag` and without tag `excluded_tag`
            tags=['included_tag', '-excluded_tag']
        )
        task_filter={{
            # filter out archived tasks
            'system_tags': ['-archived'],
            # only completed & published tasks
            'status': ['completed', 'published'],
            # only training type tasks
            'type': ['training'],
            # match text in task comment or task name
            'search_text': 'reg_exp_text'
        }}
        filtered = Task.get_tasks(task_filter=task_filter)
        answer = [[t.name for t in task_list], sorted(t.name for t in filtered)]
    """)
    assert found == [["reg_exp_text one"], ["by comment", "reg_exp_text one"]]


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_task_is_cloned_as_a_draft(scripts: Scripts) -> None:
    """Named by the call, else "Clone Of" its source, in the same project; a project by its name or its id."""
    found = scripts.ask(f"""
        task = Task.init(project_name='examples', task_name='original task', {QUIET})
        task.set_parameter("Args/lr", 0.1)
        cloned = Task.clone(
            source_task=task,  # type: Optional[Union[Task, str]]
            # override default name
            name='newly created task',  # type: Optional[str]
            comment=None,  # type: Optional[str]
            # insert cloned task into a different project
            project=None,  # type: Optional[str]
        )
        task.close()
        by_default = Task.clone(task.id)
        Task.create("elsewhere", "there")
        moved = Task.clone(task, project="elsewhere", comment="a copy")
        by_id = Task.clone(task, project=Task.get_project_id("elsewhere"))
        cloned.set_parameter("Args/lr", 0.5)
        answer = [[cloned.name, cloned.status, cloned.get_project_name(), cloned.get_parameter("Args/lr")],
                  [by_default.name, by_default.get_project_name()], [moved.get_project_name(), moved.comment],
                  by_id.get_project_name(), task.get_parameter("Args/lr")]
    """)
    assert found == [
        ["newly created task", "created", "examples", "0.5"],
        ["Clone Of original task", "examples"],
        ["elsewhere", "a copy"],
        "elsewhere",
        "0.1",
    ]


# --- offline ---------------------------------------------------------------------------------------------------------

OFFLINE = f"""
from tracker import Task
# Use the set_offline class method before initializing a Task
given = Task.set_offline(offline_mode=True)
# Initialize a Task
task = Task.init(project_name="examples", task_name="my_task", {QUIET})
# Rest of code is executed. All data is logged locally and not onto the server
for step in range(3):
    task.get_logger().report_scalar("loss", "train", step, step)
task.upload_artifact("made", {{"a": 1}})
task.close()
import json
print(json.dumps([given, task.id, str(task.get_offline_mode_folder() or "")]))
"""


def test_an_offline_session_is_carried_to_another_place(scripts: Scripts, tmp_path: Path) -> None:
    """`set_offline` gives nothing back; the zip is there at the end, and is taken in by call and command, once."""
    cache = tmp_path / "cache"
    given, _, _ = scripts.run(OFFLINE, CLEARML_CACHE_DIR=str(cache)).value
    assert given is None
    (session,) = (cache / "offline").glob("*.zip")
    other = Scripts(tmp_path / "other")
    other.folder.mkdir()
    found = other.ask(f"""
        from tracker import Task
        first = Task.import_offline_session(session_folder_zip={str(session)!r})
        task = Task.get_task(task_id=first)
        task_again = Task.import_offline_session(session_folder_zip={str(session)!r})
        answer = [task.name, task.status, task.get_reported_scalars()["loss"]["train"]["x"],
                  task.artifacts["made"].get(), first == task_again]
    """)
    assert found == ["my_task", "completed", [0, 1, 2], {"a": 1}, True]
    third = Scripts(tmp_path / "third")
    third.folder.mkdir()
    third.run("from tracker import Task; Task.create('examples', 'a store')")
    command = f"""
        import subprocess, sys
        program = [sys.executable, "-m", "tracker", "run", "--clearml", "clearml-task"]
        subprocess.run([*program, "--import-offline-session", {str(session)!r}], check=True)
    """
    third.run(command)
    assert third.ask("answer = [len(Task.get_tasks()), Task.get_by_name('my_task').status]") == [
        2,
        "completed",
    ]


def test_a_session_of_this_program_continues_an_earlier_task(scripts: Scripts, tmp_path: Path) -> None:
    """As ClearML's do."""
    first, _ = scripts.run(RUN, "{}").value
    cache, other = tmp_path / "cache", Scripts(tmp_path / "other")
    other.folder.mkdir()
    other.run(OFFLINE, CLEARML_CACHE_DIR=str(cache))
    (session,) = (cache / "offline").glob("*.zip")
    found = scripts.ask(f"""
        key = Task.import_offline_session(
            session_folder_zip={str(session)!r},
            previous_task_id={first!r},
            iteration_offset=1500
        )
        steps = Task.get_task(task_id=key).get_reported_scalars()["loss"]["train"]["x"]
        answer = [key, steps[-3:]]
    """)
    assert found == [first, [1500, 1501, 1502]]


def test_a_session_of_clearml_continues_an_earlier_task(scripts: Scripts, checkout: Path) -> None:
    """Its iterations come after those that are there, by the offset that is given."""
    first, _ = scripts.run(RUN, "{}").value
    session = next((checkout / "tests").rglob("clearml-offline-sample.zip"))
    found = scripts.ask(f"""
        Task.import_offline_session(
            session_folder_zip={str(session)!r},
            previous_task_id={first!r},
            iteration_offset=1500
        )
        task = Task.get_task(task_id={first!r})
        scalars = task.get_reported_scalars()
        own = scalars.pop("train")["loss"]["x"]
        answer = [task.name, own[:2], min(min(x["x"]) for t in scalars.values() for x in t.values())]
    """)
    assert found == ["again", [0, 100], 1501]  # the sample begins at 1


# --- seed, parameters afterwards, properties -------------------------------------------------------------------------


def test_the_seed_is_1337_unless_it_was_chosen_before(scripts: Scripts) -> None:
    """Two runs draw the same numbers; None leaves them alone."""
    found = scripts.ask(f"""
        import random
        def drawn():
            task = Task.init("examples", "seed", {QUIET})
            task.close()
            return random.random()
        answer = [Task.get_random_seed(), drawn(), drawn()]
        answer += [random.Random(1337).random()]
        Task.set_random_seed(7)
        answer += [drawn(), random.Random(7).random()]
        Task.set_random_seed(None)
        random.seed(3)
        answer += [drawn(), random.Random(3).random()]
    """)
    assert found[0] == 1337
    assert found[1] == found[2] == found[3]
    assert found[4] == found[5] != found[1]
    assert found[6] == found[7]


def test_parameters_and_properties_of_a_task_that_is_found(scripts: Scripts) -> None:
    """Read flat and one by one, with case; properties at any stage; the page's `task_get` is a slip of the pen."""
    ended = scripts.run(f"""
        from tracker import Task
        task = Task.init(project_name='examples', task_name='parameters', {QUIET})
        # override parameters with provided dictionary
        task.set_parameters({{'Args/epochs':7, 'lr': 0.5, 'Args/batch_size': 64}})
        task.close()
        task = Task.get_task(project_name='examples', task_name='parameters')
        # will print a flattened dictionary of the 'section/parameter': 'value' pairs
        print(task.get_parameters())
        param = task.get_parameter(name="Args/batch_size")
        print(param, task.get_parameter(name="args/batch_size"), hasattr(Task, "task_get"))
        task.set_user_properties(
            {{"name": "backbone", "description": "network type", "value": "great"}}
        )
        print(task.status, task.get_user_properties())
    """)
    lines = ended.out.splitlines()
    assert eval(lines[0]) == {"Args/epochs": "7", "General/lr": "0.5", "Args/batch_size": "64"}
    assert lines[1] == "64 None False"
    assert lines[2].startswith("completed {'backbone': {")
    assert "network type" in lines[2]
