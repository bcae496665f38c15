"""`soniq completion`: what a shell sources to complete commands, options and names."""

import click
from click.shell_completion import get_completion_class

from soniq.commands.common import EXIT_CODES


@click.command(epilog=EXIT_CODES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints what to source for completion, also of names in the database.

    \b
    bash, in ~/.bashrc:                     eval "$(soniq completion bash)"
    zsh, in ~/.zshrc:                       eval "$(soniq completion zsh)"
    fish, in ~/.config/fish/config.fish:    soniq completion fish | source
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click cannot complete in {shell}")
    click.echo(found(context.find_root().command, {}, "soniq", "_SONIQ_COMPLETE").source())
