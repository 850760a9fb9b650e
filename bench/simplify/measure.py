"""measure.py --tool ONNXOPT [PART ...] [MODEL ...]: see usage below."""
import argparse
import atexit
import glob
import os
import platform
import shutil
import sys
import tempfile
import time

import memory
import models
import scale
from common import Bench

PARTS = {
    'nodes': (models.nodes, 'nodes of the results of -O2 and -O3, and those of the peers'),
    'correct': (models.correct, 'whether the results of -O2 and -O3 are valid and compute the same'),
    'speed': (models.speed, 'time of the whole process, beside OnnxSlim and onnxsim'),
    'latency': (models.latency, 'time of the results in ONNX Runtime, one thread, interleaved with the originals and the results of the peers'),
    'memory': (memory.memory, 'most anonymous memory, on the models and on a generated one with 505 MB of external data'),
    'scale': (scale.scale, 'time per node on generated models of 1,000 to 100,000 nodes, and beside OnnxSlim and onnxsim'),
}
USAGE = 'bench/simplify/run [PART ...] [MODEL.onnx ...]'
EXAMPLES = '''parts (all of them if none is named, about twenty minutes):
''' + '\n'.join(f'  {k:9s}{doc}' for k, (_, doc) in PARTS.items()) + '''

examples:
  bench/simplify/run                              everything, on the models in ../shared/models and the digits model
  bench/simplify/run nodes latency                two parts
  bench/simplify/run latency my.onnx              one part, on a model of one's own
  bench/simplify/run scale --quick                the smaller of the generated models only

Results of the peers are kept in ~/.cache/onnxopt-bench/peers. Exit code: 0 if every bound is met, 1 if one is missed.'''


def main():
    p = argparse.ArgumentParser(usage=USAGE, description='Measures onnxopt beside the simplifiers of others.', epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', nargs='*', metavar='PART or MODEL', help='parts and models, in any order')
    p.add_argument('--rounds', type=int, default=15, help='interleaved rounds of latency (default 15)')
    p.add_argument('--quick', action='store_true', help='leave out what takes minutes: generated models above 10,000 nodes, OnnxSlim on 10,000')
    p.add_argument('--tool', required=True, help=argparse.SUPPRESS)
    a = p.parse_args()
    parts = [w for w in a.what if w in PARTS] or list(PARTS)
    paths = [os.path.abspath(w) for w in a.what if w not in PARTS]
    for w in paths:
        if not os.path.exists(w):
            p.error(f'{w} is neither a file nor a part ({", ".join(PARTS)})')
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.join(here, '../..')
    shared = os.path.join(root, '../shared')
    if not paths:
        paths = sorted(glob.glob(shared + '/models/*.onnx'))
        if not paths:
            print('left out: the models in ../shared/models, which is not there')
        paths.append(root + '/testdata/digits/digits.onnx')
    tmp = tempfile.mkdtemp(prefix='onnxopt-bench-')
    atexit.register(shutil.rmtree, tmp, True)
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')), platform.machine())
    b = Bench(a.tool, paths, tmp, a.rounds, a.quick, shared)
    print(f'{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {b.versions()}', flush=True)
    for part in parts:
        t = time.time()
        print(f'\n== {part}: {PARTS[part][1]}', flush=True)
        PARTS[part][0](b)
        print(f'   {time.time() - t:.0f} s', flush=True)
    print('\n== bounds, ' + cpu)
    for line in b.verdicts:
        print(line)
    sys.exit(1 if b.missed else 0)


main()
