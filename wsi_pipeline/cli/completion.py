"""`wsi-pipeline completion`: what a shell needs to complete this command."""

from __future__ import annotations

import argparse

from wsi_pipeline.cli.main import EXIT_DONE

EPILOG = """\
for this shell alone:
  eval "$(wsi-pipeline completion bash)"
  eval "$(wsi-pipeline completion zsh)"
  wsi-pipeline completion fish | source
to keep it, put that line into ~/.bashrc, ~/.zshrc (after compinit) or ~/.config/fish/config.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell you type in")


def execute(options: argparse.Namespace) -> int:
    """Print the shell's code."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["wsi-pipeline"], shell=options.shell))
    return EXIT_DONE
