"""`tracker config`: what is set, where that comes from, and changing it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from objstore.errors import NotFound
from tracker import config as sources
from tracker import hocon, settings
from tracker.cli import render
from tracker.cli.command import Call, Command, shared_options
from tracker.cli.render import Column
from tracker.errors import BadValue


def _begin(context: click.Context, show_origin: bool, store: Path | None, json: bool, debug: bool) -> None:
    """Show all settings, or `get`, `set` and `unset` one."""
    if context.invoked_subcommand is None:
        outer = context.find_root().params
        call = Call(store or outer.get("store"), json or bool(outer.get("json")), render.screen())
        _list_all(call, show_origin)


config = click.Group(
    "config",
    help=_begin.__doc__,
    invoke_without_command=True,
    callback=click.pass_context(_begin),
    params=[
        click.Option(
            ["--show-origin"], is_flag=True, help="Name the file or variable that each value comes from."
        ),
        *shared_options(),
    ],
)


def _list_all(call: Call, show_origin: bool) -> None:
    found = sources.resolve(_root(call))
    by_key = {each.key: found[each.name] for each in sources.settings()}
    if call.json:
        rows = [{"key": key, "value": one.value, "origin": one.origin} for key, one in by_key.items()]
        call.screen.document("config", {"settings": rows})
    else:
        columns = [Column("setting"), Column("value"), *([Column("origin")] if show_origin else [])]
        call.screen.table(
            columns,
            [[key, _shown(one.value), *([one.origin] if show_origin else [])] for key, one in by_key.items()],
        )
    for key, one in by_key.items():
        for place in one.refused:
            render.say(f"tracker: warning: {key} in {place} has no say: {_ELSEWHERE}")
    conf = sources.clearml_conf()
    if conf is not None and not hocon.is_installed():
        render.say(f"tracker: warning: {conf} is not read: pip install 'dottracker[hocon]' for that")


_ELSEWHERE = "a store may come from elsewhere (`tracker config set --user` sets it for you)"


@config.command(
    "get", cls=Command, examples=[("config get close_timeout", "its value, wherever that is set")]
)
@click.option("--show-origin", is_flag=True, help="Name the file or variable that the value comes from.")
@click.argument("key")
def get(call: Call, key: str, show_origin: bool) -> None:
    """Print one setting."""
    setting = settings.named(key)
    found = sources.resolve(_root(call))[setting.name]
    if call.json:
        call.screen.document("config.get", {"key": setting.key, "value": found.value, "origin": found.origin})
    else:
        click.echo(
            render.escape(f"{_shown(found.value)}  {found.origin}" if show_origin else _shown(found.value))
        )


@config.command(
    "set",
    cls=Command,
    examples=[
        ("config set strict true", "for this store"),
        ("config set --user close_timeout 60", "for all of your stores"),
    ],
)
@click.option("--user", is_flag=True, help="In your own settings, for all of your stores.")
@click.argument("key")
@click.argument("value")
def set_(call: Call, key: str, value: str, user: bool) -> None:
    """Set one setting, in the store's config.toml or in your own. Comments are kept."""
    path = _file(call, user)
    kept = settings.set_value(path, key, value, users=user)
    if call.json:
        call.screen.document("config.set", {"key": settings.named(key).key, "value": kept, "file": str(path)})
    else:
        render.say(f"{settings.named(key).key} = {_shown(kept)} in {path}")
    _tell_overruled(call, key, path)


@config.command(
    "unset", cls=Command, examples=[("config unset strict", "back to what holds without this store's word")]
)
@click.option("--user", is_flag=True, help="In your own settings.")
@click.argument("key")
def unset(call: Call, key: str, user: bool) -> None:
    """Remove one setting from the store's config.toml, or from your own."""
    path = _file(call, user)
    if not settings.unset(path, key, users=user):
        raise NotFound(f"{settings.named(key).key} is not set in {path}")
    if call.json:
        call.screen.document("config.unset", {"key": settings.named(key).key, "file": str(path)})
    else:
        render.say(f"{settings.named(key).key} is no longer set in {path}")


def _tell_overruled(call: Call, key: str, path: Path) -> None:
    found = sources.resolve(_root(call))[settings.named(key).name]
    if os.path.abspath(found.origin) != os.path.abspath(path):
        render.say(f"tracker: warning: {found.origin} says otherwise, and wins: {_shown(found.value)}")


def _root(call: Call) -> Path | None:
    """The store's folder; None outside of any store, where only one's own settings count."""
    from tracker.workspace import find

    return sources.store_in(call.store) if call.store is not None else find(Path.cwd())


def _file(call: Call, user: bool) -> Path:
    if not user:
        return call.open_as_it_is().root / "config.toml"
    path = sources.user_config()
    if path is None:
        raise BadValue("there is no home to keep your settings in: set XDG_CONFIG_HOME or HOME")
    return path


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
