"""`gglib completion`: what makes a shell complete gglib's commands.

Not here: what is completed, which is click's business and the commands' own.
"""

from __future__ import annotations

import click

from gglib_runtime.cli.failures import CommandFailed

_HOW_TO = """\
Print the script that makes a shell complete gglib's commands.

\b
bash:  eval "$(gglib completion bash)"       in ~/.bashrc
zsh:   eval "$(gglib completion zsh)"        in ~/.zshrc
fish:  gglib completion fish | source        in ~/.config/fish/config.fish
"""


@click.command(help=_HOW_TO)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise CommandFailed(f"click knows no completion for {shell}.")
    click.echo(found(context.find_root().command, {}, "gglib", "_GGLIB_COMPLETE").source())
