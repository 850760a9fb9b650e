"""Writes what ONNX Runtime's optimizers make of models. Called by the Go test of the same purpose.

    python3 ort_levels.py OUT MODEL.onnx ...

Writes OUT/NAME.2.onnx and OUT/NAME.3.onnx: after level 2 (extended), and after level 3, which is for this machine alone.
"""
import os, sys
import onnxruntime as ort

LEVELS = {'2': ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED, '3': ort.GraphOptimizationLevel.ORT_ENABLE_ALL}

for path in sys.argv[2:]:
    for name, level in LEVELS.items():
        o = ort.SessionOptions()
        o.log_severity_level, o.intra_op_num_threads, o.graph_optimization_level = 4, 1, level
        o.optimized_model_filepath = os.path.join(sys.argv[1], os.path.basename(path)[:-5] + '.' + name + '.onnx')
        ort.InferenceSession(path, o, providers=['CPUExecutionProvider'])
