"""The command `wsi-pipeline`: parse, call one function, say how it ended."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

import wsi_pipeline
from wsi_pipeline.errors import ConfigError, ModelError, WsiPipelineError

EXIT_DONE: Final = 0
EXIT_SOME_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

COMMANDS: Final = {
    "run": "slides -> probability maps, regions, overlays",
    "scan": "look at slides without inference; writes an editable list",
    "render": "regions and overlays again from the stored maps",
    "export": "the results in another program's format",
    "serve": "look at the results and review them in the browser",
    "compare": "run against run, or run against a pathologist's outlines",
    "train": "train a patch classifier",
    "evaluate": "evaluate a patch classifier on labelled data",
    "classify": "classify single images of patches",
    "preview": "one page: mask, quality, stain, patches",
    "drift": "stain, tissue and focus over an archive, outliers named",
    "models": "list and describe models",
    "doctor": "what this machine has and what is missing",
}
"""Each command is the module `wsi_pipeline.cli.NAME` with `add_arguments` and `execute`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser, options = _parse(words)
    if options.command is None:
        parser.print_help()
        return EXIT_USAGE
    _set_up_logging(verbose=options.verbose, as_json=options.log_json)
    module = _module(options.command)
    try:
        return int(module.execute(options))
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_DONE
    except WsiPipelineError as error:
        print(f"error: {error.problem}", file=sys.stderr)
        if error.advice:
            print(f"       {error.advice}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError | ModelError) else EXIT_SOME_FAILED


def _parse(words: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Parse; only the module of the command at hand is imported, so that help comes at once."""
    parser = argparse.ArgumentParser(
        prog="wsi-pipeline",
        allow_abbrev=False,
        description=f"{wsi_pipeline.__doc__}",
    )
    parser.add_argument("--version", action="version", version=wsi_pipeline.__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    asked = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=summary.capitalize(), allow_abbrev=False
        )
        if name == asked:
            _module(name).add_arguments(subparser)
            subparser.add_argument("-v", "--verbose", action="store_true", help="say more")
            subparser.add_argument(
                "--log-json", action="store_true", help="log lines as JSON, for programs"
            )
    return parser, parser.parse_args(words)


def _module(command: str) -> Any:
    return importlib.import_module(f"wsi_pipeline.cli.{command}")


def _set_up_logging(*, verbose: bool, as_json: bool) -> None:
    from wsi_pipeline.cli.logs import JsonFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter() if as_json else logging.Formatter("%(levelname)s: %(message)s")
    )
    root = logging.getLogger("wsi_pipeline")
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if verbose or as_json else logging.WARNING)
    root.propagate = False


if __name__ == "__main__":
    sys.exit(main())
