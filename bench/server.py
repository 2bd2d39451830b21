"""server.py - requests a second of a Redis server whose values do not fit within the limit.

Debian's redis-tools brings the server under the name of its checker, and redis-benchmark.
"""

import os
import re
import subprocess
import tempfile
import time

import measure

SERVER = "/usr/bin/redis-check-rdb"
CLIENT = "/usr/bin/redis-benchmark"
VALUE_BYTES = 20000


def run(environment, n_values, n_requests):
    """(GETs a second, None) or (None, why not). The values are set first: n_values of VALUE_BYTES."""
    if not os.access(SERVER, os.X_OK) or not os.access(CLIENT, os.X_OK):
        return None, "redis-tools is not installed"
    with tempfile.TemporaryDirectory(prefix="ghostmem-bench-") as directory:
        socket = os.path.join(directory, "redis.socket")
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", directory]
        server = subprocess.Popen(command, executable=SERVER, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(300):
                if os.path.exists(socket):
                    break
                time.sleep(0.1)
            common = [CLIENT, "-s", socket, "-c", "1", "-d", str(VALUE_BYTES), "-r", str(n_values), "-q"]
            # Several times as many as keys: nearly all are set then.
            subprocess.run([*common, "-t", "set", "-n", str(4 * n_values)], check=True, capture_output=True, timeout=600)
            done = subprocess.run([*common, "-t", "get", "-n", str(n_requests)], check=True, capture_output=True, text=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as problem:
            return None, f"redis: {problem}"
        finally:
            server.terminate()
            server.wait()
    found = re.findall(r"GET: ([0-9.]+) requests per second", done.stdout)
    return (float(found[-1]), None) if found else (None, "redis-benchmark printed no figure")


def environment(library=None, limit_pages=0, backend=None):
    settings = measure.base_environment()
    if library:
        # Below the size of the values, or none of them would be ghost memory.
        settings.update(LD_PRELOAD=library, GHOSTMEM_MAX_PAGES=str(limit_pages), GHOSTMEM_FAULTS=backend, GHOSTMEM_THRESHOLD="16K")
    return settings
