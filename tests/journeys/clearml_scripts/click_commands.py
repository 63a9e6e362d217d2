"""A group of two commands, of which one runs."""

from __future__ import annotations

import click
from clearml import Task


@click.group()
@click.option("--what-to-print", default="nothing", help="what to print first")
def cli(what_to_print):
    print("first", what_to_print)


@cli.command()
@click.option("--count", default=1, type=int, help="how often")
@click.option("--name", required=True)
@click.option("--tag", multiple=True)
@click.option("--password", hide_input=True, default="hunter22")
def hello(count, name, tag, password):
    """Say hello."""
    for _ in range(count):
        print("hello", name, list(tag), password)


@cli.command()
@click.argument("port", type=int)
def runserver(port):
    print("runs at", port)


if __name__ == "__main__":
    task = Task.init("examples", "click commands")
    cli()
