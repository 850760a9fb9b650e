"""ortpeak.py MODEL INPUTS.npz RUNS: what loading and running a model in ONNX Runtime adds to the resident set of this process."""
import json, sys
import numpy as np
import onnxruntime as ort


def status(key):
    return next(int(line.split()[1]) << 10 for line in open('/proc/self/status') if line.startswith(key + ':'))


feeds = dict(np.load(sys.argv[2]))
options = ort.SessionOptions()
options.log_severity_level, options.intra_op_num_threads = 4, 1
open('/proc/self/clear_refs', 'w').write('5')  # the high-water mark falls to what there is
before = status('VmRSS')
session = ort.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
for _ in range(int(sys.argv[3])):
    session.run(None, feeds)
print(json.dumps({'before': before, 'peak': status('VmHWM')}))
