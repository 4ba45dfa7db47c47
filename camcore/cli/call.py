"""The command that was typed, to be typed again."""

from __future__ import annotations

import shlex

import typer


def typed(context: typer.Context) -> str:
    """Write the command of a context, with the options that were given."""
    words = ["camcore", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        option = [parameter.opts[0]] if parameter.param_type_name == "option" else []
        if value is True:
            words += option
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [*option, *map(str, one if isinstance(one, tuple) else [one])]
    return shlex.join(words)
