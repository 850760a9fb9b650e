"""turns.py FILE...: times models in OpenVINO by turns, one thread, on the same random inputs, and prints the median of each beside the first's."""
import os
import sys
import time

import numpy as np
import openvino as ov

compiled = []
for path in sys.argv[1:]:
    c = ov.Core().compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': 1})
    rng = np.random.default_rng(0)
    request = c.create_infer_request()
    for i, port in enumerate(c.inputs):
        shape = [d.get_length() if d.is_static else 1 for d in port.get_partial_shape()]
        request.set_input_tensor(i, ov.Tensor(rng.random(shape).astype(port.get_element_type().to_dtype())))
    kinds = {}
    for op in c.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        kind = info['runtimePrecision'].astype(str) if 'runtimePrecision' in info else ''
        kinds[kind] = kinds.get(kind, 0) + 1
    compiled.append((path, request, kinds, []))
for turn in range(15):
    for _, request, _, times in compiled:
        for _ in range(3):
            request.infer()
        for _ in range(10):
            begun = time.perf_counter()
            request.infer()
            times.append(time.perf_counter() - begun)
first = np.median(compiled[0][3])
for path, _, kinds, times in compiled:
    print(f'{os.path.basename(path):<32} {np.median(times) * 1e3:9.3f} ms {np.median(times) / first:6.2f}  {kinds}')
