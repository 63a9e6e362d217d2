"""Flags of absl, of which some are given."""

from __future__ import annotations

from absl import app, flags
from clearml import Task

FLAGS = flags.FLAGS
flags.DEFINE_string("echo", None, "a text to print")
flags.DEFINE_integer("echo3", 3, "a number")
flags.DEFINE_bool("loud", False, "whether to shout")
flags.DEFINE_list("words", ["a", "b"], "some words")


def main(_):
    Task.init("examples", "absl flags")
    print(FLAGS.echo, FLAGS.echo3 + 1, FLAGS.loud, FLAGS.words)


if __name__ == "__main__":
    app.run(main)
