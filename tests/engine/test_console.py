"""The console: what becomes of it when nobody reads on."""

import os
import subprocess
import sys

SCRIPT = """
import sys
from ptft.engine.console import Console
console, log = Console(), []
console.log = log.append
for number in range(10_000):
    console.say(f"line {number}")
print(len(log), file=sys.stderr)
"""


def test_a_run_goes_on_when_the_reader_of_its_output_goes_away():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr.split()) == (0, ["10000"])
