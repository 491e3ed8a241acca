"""The command `wsi-pipeline`: parse, call one function, say how it ended."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final, NoReturn

import wsi_pipeline
from wsi_pipeline.cli.examples import description
from wsi_pipeline.cli.printing import printable, tamed_output
from wsi_pipeline.cli.terminal import set_up_logging, standard_error_of_our_own
from wsi_pipeline.errors import ConfigError, ModelError, WsiPipelineError
from wsi_pipeline.files import keep_from_others

logger = logging.getLogger(__name__)

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
    "completion": "completion of this command in bash, zsh or fish",
}
"""Each command is the module `wsi_pipeline.cli.NAME` with `add_arguments` and `execute`."""
RESUMED: Final = ("run", "train")
"""Commands that keep what they have done when they are interrupted."""

DESCRIPTION: Final = (
    "Delineate invasive ductal carcinoma on whole-slide images: slide in; probability map,\n"
    f"regions with mm² and an overlay out. {wsi_pipeline.NOTICE}"
)
EXAMPLES: Final = """\
  wsi-pipeline run case.svs -o out            one slide: map, regions, overlay in out/slides/case
  wsi-pipeline scan /archive -o slides.csv    what is there, before anything is computed
  wsi-pipeline run slides.csv -o out          the list; finished slides are skipped
  wsi-pipeline serve out --open               look and review in the browser
  wsi-pipeline COMMAND --help                 all options of a command
"""


class Parser(argparse.ArgumentParser):
    """Argparse's parser, whose complaints are JSON too where that was asked for."""

    as_json = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line and exit."""
        if not self.as_json:
            super().error(message)
        set_up_logging(verbose=False, as_json=True)
        logger.error("%s", message, extra={"facts": {"usage": self.format_usage().strip()}})
        sys.exit(EXIT_USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process where None; it then is the command, and standard error its own.
    """
    _print_any_name()
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser, options = _parse(words)
    if options.command is None:
        parser.print_help()
        return EXIT_USAGE
    as_json = options.log_json
    set_up_logging(verbose=options.verbose, as_json=as_json)
    keep_from_others()
    if arguments is None and options.command != "serve":  # whose server ends in its own way
        # what containers, systemd and clusters send: a run gives its slides and processes back
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    own_error = standard_error_of_our_own(as_json=as_json) if arguments is None else nullcontext()
    with own_error, tamed_output():
        try:
            return int(_module(options.command).execute(options))
        except KeyboardInterrupt:
            goes_on = "; the same command goes on from here" if options.command in RESUMED else ""
            _complain(f"interrupted{goes_on}", "", options)
            return EXIT_INTERRUPTED
        except BrokenPipeError:
            return EXIT_DONE
        except WsiPipelineError as error:
            _complain(error.problem, error.advice, options)
            return EXIT_USAGE if isinstance(error, ConfigError | ModelError) else EXIT_SOME_FAILED


def _complain(problem: str, advice: str, options: argparse.Namespace) -> None:
    """Say why a command ends: in words, or as a line of JSON."""
    if options.log_json:
        logger.error("%s", problem, extra={"facts": {"advice": advice} if advice else {}})
        return
    before = "\n" if problem.startswith("interrupted") else "error: "
    print(f"{before}{printable(problem)}", file=sys.stderr)
    if advice:
        print(f"       {printable(advice)}", file=sys.stderr)


def _print_any_name() -> None:
    """Let no name end a run that the terminal cannot show: what is no letter of it is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parse(words: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Parse; only the module of the command at hand is imported, so that help comes at once."""
    completed = os.environ.get("COMP_LINE") if "_ARGCOMPLETE" in os.environ else None
    parser = _parser(completed.split() if completed else words)
    if completed:
        import argcomplete

        argcomplete.autocomplete(parser)
    return parser, parser.parse_args(words)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="wsi-pipeline",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s COMMAND ...",
        description=f"{DESCRIPTION}\n\nexamples:\n{EXAMPLES}",
    )
    parser.add_argument("--version", action="version", version=wsi_pipeline.__version__)
    parser.as_json = "--log-json" in words
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", prog="wsi-pipeline"
    )
    asked = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=description(name, summary),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        subparser.as_json = parser.as_json
        if name == asked:
            _module(name).add_arguments(subparser)
            subparser.add_argument("-v", "--verbose", action="store_true", help="say more")
            subparser.add_argument(
                "--log-json", action="store_true", help="stderr as JSON lines, for programs"
            )
    return parser


def _module(command: str) -> Any:
    return importlib.import_module(f"wsi_pipeline.cli.{command}")


if __name__ == "__main__":
    sys.exit(main())
