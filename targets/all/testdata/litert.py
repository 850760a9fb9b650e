"""Runs .tflite files in LiteRT: litert.py [--resolvers=A,B] FOLDER NAME... reads NAME.tflite and NAME.in.npz, writes
NAME.RESOLVER.npz for the default resolver (XNNPACK takes the graph), the one without delegates (plain) and the reference kernels, and
prints a line for each model. With --resolvers only those; what does not run is then left out, with its error on standard error."""
import os
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {'default': None, 'plain': OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, 'reference': OpResolverType.BUILTIN_REF}


def evaluate(folder, name, resolvers):
    feeds = dict(np.load(f'{folder}/{name}.in.npz'))
    delegates = 0
    for key in resolvers:
        resolver = RESOLVERS[key]
        options = {} if resolver is None else {'experimental_op_resolver_type': resolver}
        m = Interpreter(model_path=f'{folder}/{name}.tflite', num_threads=1, **options)
        m.allocate_tensors()
        if resolver is None:
            delegates = sum('DELEGATE' in o['op_name'].upper() for o in m._get_ops_details())
        run = m.get_signature_runner()
        types = {k: v['dtype'] for k, v in run.get_input_details().items()}
        out = {k: v.copy() for k, v in run(**{k: feeds[k].astype(t) for k, t in types.items()}).items()}
        np.savez(f'{folder}/{name}.{key}.npz', **out)
    print(name, delegates, flush=True)


def main():
    args, resolvers, strict = sys.argv[1:], list(RESOLVERS), True
    if args[0].startswith('--resolvers='):
        resolvers, strict, args = args[0].split('=')[1].split(','), False, args[1:]
    for name in args[1:]:
        if strict:
            evaluate(args[0], name, resolvers)
            continue
        child = os.fork()  # the library may end the process
        if child == 0:
            try:
                evaluate(args[0], name, resolvers)
            except (RuntimeError, ValueError) as e:
                print(name, e, file=sys.stderr, flush=True)
            os._exit(0)
        os.waitpid(child, 0)


main()
