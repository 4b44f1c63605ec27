# mypy: ignore-errors
"""Calls into Click: a context in a thread local, commands from decorators, a test runner."""

import click
from click.testing import CliRunner


@click.group(invoke_without_command=True)
@click.option("--size", type=click.IntRange(1, 5), default=2, show_default=True, envvar="SIZE")
@click.pass_context
def cli(ctx, size):
    """Does things."""
    ctx.obj = {"size": size}


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--kind", type=click.Choice(["a", "b"]), prompt=True)
@click.option("--day", type=click.DateTime())
@click.pass_obj
def show(obj, names, kind, day):
    """Shows NAMES."""
    click.secho(f"{obj['size']} {names} {kind} {day}", fg="red")
    click.echo(click.get_current_context().command_path)


class Lazy(click.MultiCommand if not hasattr(click, "Group") else click.Group):
    def list_commands(self, ctx):
        return ["late"]

    def get_command(self, ctx, name):
        module = __import__("compat_exercise", None, None, ["show"])
        return module.show if name == "late" else None


def run():
    runner = CliRunner()
    for arguments in (
        ["--help"],
        ["show", "--help"],
        ["show", "x", "y", "--kind", "a", "--day", "2020-01-02"],
        ["--size", "9", "show"],
        ["show", "--kind", "c"],
        ["--size", "3", "show", "z"],
    ):
        result = runner.invoke(cli, arguments, input="b\n", color=True)
        yield arguments, result.exit_code, result.output
    result = runner.invoke(Lazy("lazy"), ["late", "--kind", "a"], obj={"size": 1})
    yield result.exit_code, result.output
    with runner.isolated_filesystem():
        with click.open_file("f.txt", "w", atomic=True) as file:
            file.write("text")
        yield click.open_file("f.txt").read()
    yield click.style("x", bold=True), click.unstyle(click.style("y", fg="blue"))
    yield click.get_current_context(silent=True), click.format_filename(b"a/b", shorten=True)
