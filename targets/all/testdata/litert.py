"""Runs .tflite files in LiteRT: litert.py FOLDER NAME... reads NAME.tflite and NAME.in.npz, writes NAME.RESOLVER.npz for the default
resolver (XNNPACK takes the graph), the one without delegates and the reference kernels, and prints a line for each model."""
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {'default': None, 'plain': OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, 'reference': OpResolverType.BUILTIN_REF}


def main():
    folder = sys.argv[1]
    for name in sys.argv[2:]:
        feeds = dict(np.load(f'{folder}/{name}.in.npz'))
        delegates = 0
        for key, resolver in RESOLVERS.items():
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


main()
