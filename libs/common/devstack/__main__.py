"""``python -m libs.common.devstack prepare|run|demo|clean``."""

import sys

from libs.common.devstack.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
