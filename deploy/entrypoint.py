"""What does a container of ours run? What its image was built for: a service, or the command line.

Until it listens to SIGTERM itself, nothing has been accepted and nothing can be lost, so it ends
at once: the first process of a container would else ignore the signal until it is killed.
"""

import os
import runpy
import signal
import sys

NOT_BEGUN = 128 + signal.SIGTERM

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(NOT_BEGUN))
    service = os.environ["SERVICE"]
    module = "lianxin" if service == "cli" else f"services.{service}.main"
    runpy.run_module(module, run_name="__main__", alter_sys=True)
