"""Prints the operators of the CPU kernels of the installed ONNX Runtime with the element types of their first operand."""
import collections
import onnx, onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as state
first = {}
for s in onnx.defs.get_all_schemas_with_history():
    if s.inputs: first[(s.domain, s.name, s.since_version)] = s.inputs[0].type_str
types = collections.defaultdict(set)
for k in state.get_all_opkernel_def():
    if k.provider != 'CPUExecutionProvider' or k.domain == 'com.microsoft.nchwc' or k.version_range[1] < 2**31-1: continue
    got = {'*'}
    name = first.get((k.domain, k.op_name, max([v for d, n, v in first if d == k.domain and n == k.op_name and v <= max(k.version_range[0],1)], default=None)))
    if name in k.type_constraints:
        got = set(k.type_constraints[name])
    types[(k.domain, k.op_name)] |= got
print(f'# CPU kernels of ONNX Runtime {onnxruntime.__version__}, as it lists them (bench/targets/kernels.py): domain, operator, element types of the first operand')
for (d, n), t in sorted(types.items()):
    l = sorted(x.removeprefix('tensor(').removesuffix(')') for x in t)
    if '*' in l or any('(' in x for x in l): l = ['*']
    print(d or 'ai.onnx', n, ' '.join(l), sep='\t')
