"""How does a child end with its parent, even when the parent is killed?

Run as ``python -I exec_child.py <parent's pid> <program> <argument>…``: asks Linux for a
SIGKILL when the thread that started it is gone, then becomes the program. (A preexec_fn
would fork a process that has threads.) Elsewhere the sweep of ``child.py`` does it at the
next start.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the launcher died first")
    os.execvp(sys.argv[2], sys.argv[2:])
