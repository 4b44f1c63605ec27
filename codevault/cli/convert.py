"""`codevault convert`: makes a checkpoint of an old file."""

from __future__ import annotations

import click

from codevault.cli.output import echo, json_option


@click.command()
@click.argument("old")
@click.option("-o", "--output", help="The checkpoint to write.")
@click.option("--repo", help="Where its code is: a URL, or a path to a repository or folder.")
@click.option("--commit", help="The full commit it was trained with.")
@click.option("--roots", multiple=True, help="A folder of the import path; in order.")
@click.option("--shared", multiple=True, help="A dotted prefix that stays the application's.")
@click.option("--overlay", help="A folder whose files are laid over the code, and travel along.")
@click.option("--class", "class_path", help="pkg.mod:Class, or a function that gives the policy.")
@click.option("--arg", "arguments", multiple=True, help="NAME=JSON, an argument of the class.")
@click.option("--env", help="A JSON file with the environment description.")
@click.option("--state", help="Which entry of the file is the weights, such as model_state_dict.")
@click.option("--probe", help="OBS: obs.safetensors, 'float32[1,4]', JSON of these, or none.")
@click.option("--list", "only_list", is_flag=True, help="Only list what its pickles look up.")
@click.option("--allow-pickle", is_flag=True, help="Let the file run code, in its own process.")
@click.option("--allow-setup", is_flag=True, help="Let a bundle's setup_script run.")
@json_option
def convert(
    old: str,
    output: str | None,
    repo: str | None,
    commit: str | None,
    roots: tuple[str, ...],
    shared: tuple[str, ...],
    overlay: str | None,
    class_path: str | None,
    arguments: tuple[str, ...],
    env: str | None,
    state: str | None,
    probe: str | None,
    only_list: bool,
    allow_pickle: bool,
    allow_setup: bool,
    as_json: bool,
) -> None:
    """Make a checkpoint of an old file: Metta's forms, SB3 zips, rsl_rl, state_dicts, pickles."""
    from codevault.convert import listing, making
    from codevault.convert.request import Request, argument
    from codevault.manifest import escaped

    if only_list:
        found = making.recognised(old)
        names = listing.names_of(found)
        rows = [f"looks up {escaped(name)}" for name in names] or ["it has no pickle"]
        echo(as_json, {"form": found.form, "names": names}, [f"{old} is {found.form}", *rows])
        return
    if output is None:
        raise click.UsageError("say where to write: -o new.mpt")
    request = Request(
        old=old,
        output=output,
        repo=repo,
        commit=commit,
        roots=roots,
        shared=shared,
        overlay=overlay,
        class_path=class_path,
        arguments=dict(argument(text) for text in arguments),
        env=env,
        state=state,
        probe=probe,
        allow_pickle=allow_pickle,
        allow_setup=allow_setup,
    )
    done = making.convert(request, lambda line: click.echo(line, err=True))
    data = {
        "output": output,
        "form": done.form,
        "unpickler": done.unpickler,
        "left_out": done.left_out,
        "notes": done.notes,
        "checkpoint": done.manifest.checkpoint_digest,
        "policy": done.manifest.policy_digest,
    }
    lines = [f"wrote {output}, from {done.form}"]
    lines += [f"left out: {name}" for name in done.left_out]
    echo(as_json, data, [*lines, *done.notes])
