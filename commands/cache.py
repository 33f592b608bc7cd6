"""`cache`: what is kept on disk between the trainings of networks."""

from __future__ import annotations

import click

from leukobench.commands.printing import json_option, show


@click.command()
@click.option("--clear", is_flag=True, help="Empty the cache; it is filled again when it is needed.")
@click.option("--yes", is_flag=True, help="Empty it without asking.")
@json_option
def cache(clear: bool, yes: bool) -> None:
    """Show the folder and the size of the cache, or empty it.

    `train-cnn` keeps resized images and the outputs of frozen layers, for further trainings on the same images, and
    networks that JAX has compiled for a GPU. The folder is $LEUKOBENCH_CACHE, or leukobench in your cache folder. Do
    not empty it while a network is trained.

    \b
    Example:  leukobench cache
              leukobench cache --clear --yes
    """
    from leukobench.cnn.data import cache_folder
    from leukobench.core.text import counted
    from leukobench.workflows.cache import clear_cache, size_of

    folder = cache_folder()
    found = size_of(folder)
    parts = ", ".join(f"{name} {of_part.bytes / 1e6:,.1f} MB" for name, of_part in found.items()) or "empty"
    files = sum(of_part.files for of_part in found.values())
    show(
        {"folder": folder, "parts": {name: vars(of_part) for name, of_part in found.items()}},
        [f"{folder}: {parts} ({counted(files, 'file')})"],
    )
    if yes and not clear:
        raise click.UsageError("--yes is for --clear")
    if not clear or not files:
        return
    if not yes:
        click.confirm("Empty it?", abort=True)
    clear_cache(folder)
    click.echo("emptied")
