"""`recipes`: what can be trained by name."""

from __future__ import annotations

import sys

import click


@click.command()
@click.argument("name", required=False)
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

    known = CLASSICAL | NETWORKS
    if name is None:
        for recipe in known.values():
            family = getattr(recipe, "family", "cnn")
            click.echo(f"{recipe.name:26} {family:4} {recipe.description}")
            if getattr(recipe, "reported", ""):
                click.echo(f"{'':32}reported: {recipe.reported}")
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
        raise click.BadParameter(f"no recipe {name!r}; expected one of {', '.join(known)}", param_hint="NAME")
