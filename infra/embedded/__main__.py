"""Run the embedded system."""

import sys

from infra.embedded.main import main

sys.exit(main())
