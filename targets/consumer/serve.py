"""What all consumers have in common: lines of JSON on standard input ask for runs, lines of JSON on standard output answer."""
import json
import os
import signal
import sys
import time

import numpy as np

sys.stdout.flush()
ANSWERS = os.fdopen(os.dup(1), 'w')  # what libraries print goes to standard error
os.dup2(2, 1)


def answer(**fields):
    print(json.dumps(fields), file=ANSWERS, flush=True)


def arrays(path, names):
    with np.load(path, allow_pickle=False) as z:
        return {name: z[f'{i}'] for i, name in enumerate(names)}


def many(load):
    """Runs one artifact for each line of standard input, each in a process of its own: a runtime may end it, or hang."""
    for line in sys.stdin:
        ask = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(ask['seconds'])
            try:
                run, _ = load(ask['artifact'], ask['options'])
                outputs, _ = run(arrays(ask['in'], ask['inputs']))
                np.savez(ask['out'], **{f'{i}': v for i, v in enumerate(outputs.values())})
                answer(outputs=list(outputs))
                os._exit(0)
            except Exception as e:
                answer(error=' '.join(str(e).split()) or type(e).__name__)
                os._exit(0)
        code = os.waitpid(child, 0)[1]
        if code:
            answer(error=f'it ended the process: signal {code & 127}' if code & 127 else f'it ended the process: code {code >> 8}')


def serve(load):
    """load(artifact, options) gives a function from arrays by name to (outputs, layers), and facts about what was loaded."""
    if len(sys.argv) == 1:
        many(load)
        return
    artifact, options = sys.argv[1], json.loads(sys.argv[2])
    try:
        begun = time.perf_counter()
        run, facts = load(artifact, options)
        answer(load_s=time.perf_counter() - begun, **facts)
    except Exception as e:  # whatever the runtime says of the file
        answer(error=' '.join(str(e).split()) or type(e).__name__)
        return
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            feeds = arrays(ask['in'], ask['inputs'])
            outputs, layers = run(feeds)
            runs = []
            for _ in range(ask.get('runs', 0)):
                begun = time.perf_counter()
                run(feeds)
                runs.append(time.perf_counter() - begun)
            np.savez(ask['out'], **{f'{i}': v for i, v in enumerate([*outputs.values(), *layers.values()])})
            answer(outputs=list(outputs), layers=list(layers), runs=runs)
        except Exception as e:
            answer(error=' '.join(str(e).split()) or type(e).__name__)
