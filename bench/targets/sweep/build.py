"""Runs the scripts that build engines, one a line of standard input, each in a process of its own, and answers with a line of JSON."""
import json
import os
import runpy
import signal
import sys
import tempfile

try:
    import tensorrt  # noqa: F401, here once for all
except ImportError:
    import tensorrt_rtx_libs  # noqa: F401
    import tensorrt_rtx_bindings  # noqa: F401

for line in sys.stdin:
    script = line.rstrip('\n')
    with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile() as engine:
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 0
            try:
                sys.argv = [script, engine.name]
                runpy.run_path(script, run_name='__main__')
            except SystemExit as e:
                code = 1 if e.code else 0
                print(e.code, file=sys.stderr)
            except Exception as e:
                code = 1
                print(e, file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        text = said.read().decode(errors='replace').strip()
    print(json.dumps({'built': status == 0, 'said': text[-600:] if text else f'status {status}'}), flush=True)
