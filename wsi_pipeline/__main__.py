"""`python -m wsi_pipeline` is `wsi-pipeline`."""

import sys

from wsi_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
