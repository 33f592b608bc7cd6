"""`recipes`: what can be trained by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from leukobench.commands.printing import json_option, show


@click.command()
@click.argument("name", required=False)
@json_option
def recipes(name: str | None) -> None:
    """List the recipes and the metrics that their sources reported, or print every value of the recipe NAME.

    Where a publication does not state a setting, the fields notes and left_open say so, and give the value that
    leukobench uses. For a network, counts has the numbers of parameters and layers of the network as built, beside the
    published ones.

    \b
    Example:  leukobench recipes
              leukobench recipes dhuri-mobilenet
    """
    import json
    from dataclasses import asdict

    from leukobench.classifiers.recipes import RECIPES as CLASSICAL
    from leukobench.cnn.recipe_catalog import RECIPES as NETWORKS
    from leukobench.core.text import nearest, wrapped

    known = CLASSICAL | NETWORKS
    if name is None:
        rows = [
            (recipe.name, getattr(recipe, "family", "cnn"), recipe.description, _reported(recipe.reported))
            for recipe in known.values()
        ]
        facts = [dict(zip(("name", "family", "description", "reported"), row, strict=True)) for row in rows]
        show({"recipes": facts}, wrapped([("name", "family", "description", "reported by its source"), *rows]))
    elif name in NETWORKS:
        from leukobench.cnn.counts import count

        if sys.stderr.isatty():
            click.echo(f"building {name} to count its parameters", err=True)
        values = NETWORKS[name].as_json()
        del values["published"]  # it stands in the counts
        values["counts"] = {
            of: {key: value for key, value in asdict(number).items() if value not in (None, "")}
            for of, number in count(NETWORKS[name]).items()
        }
        click.echo(json.dumps(values, indent=2))
    elif name in known:
        click.echo(json.dumps(known[name].as_json(), indent=2))
    else:
        raise click.BadParameter(
            f"no recipe {name!r}{nearest(name, known)}; expected one of {', '.join(known)}", param_hint="NAME"
        )


def _reported(metrics: str | Mapping[str, float]) -> str:
    """Return the metrics that a source reported, as text."""
    return (metrics if isinstance(metrics, str) else ", ".join(f"{name} {metrics[name]}" for name in metrics)) or "-"
