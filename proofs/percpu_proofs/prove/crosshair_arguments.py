"""Puts our plugin last on CrossHair's command line, so that it does not swallow the target.

`--extra_plugin FILE TARGET` takes TARGET for a second plugin. CrossHair imports this module, by its
entry point, before it reads the command line, in which nothing changes but where our FILE stands.
"""

from __future__ import annotations

import sys
from pathlib import Path

OPTION = "--extra_plugin"
PLUGIN = str(Path(__file__).with_name("plugin.py"))


def plugin_last(arguments: list[str]) -> list[str]:
    """Return a command line with the option that names our plugin at its end.

    >>> plugin_last(["check", "--extra_plugin", PLUGIN, "module"])[:2]
    ['check', 'module']
    """
    for at, argument in enumerate(arguments[:-1]):
        if argument == OPTION and arguments[at + 1] == PLUGIN and "--" not in arguments:
            return [*arguments[:at], *arguments[at + 2 :], OPTION, PLUGIN]
    return arguments


sys.argv[1:] = plugin_last(sys.argv[1:])
