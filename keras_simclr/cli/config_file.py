"""The option `--config`."""

from pathlib import Path

import typer
import yaml


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let the values in a config file be the defaults of the options."""
    if path is None:
        return None
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}") from error
    known = {parameter.name for parameter in context.command.params}
    if not isinstance(values, dict) or values.get("command") != context.command.name:
        raise typer.BadParameter(f"{path} is not a config of `{context.command.name}`")
    match values.pop("image_size", None):
        case [height, width] if height != width:
            raise typer.BadParameter(f"{path} has images of {height} x {width}, not of one size")

        case [int(side), _] | int(side):
            values["image_size"] = side
    context.default_map = {name: value for name, value in values.items() if name in known}
    return path
