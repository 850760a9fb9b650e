"""Writes contrib-schemas.json: what ONNX Runtime's own registry says of the operators of domain com.microsoft for which ops/kernel has
kernels, in the form of op-schemas.json. Run with onnxruntime 1.32.0 and onnx:

    python ops/_gen/ort_schemas.py > ops/_gen/contrib-schemas.json
"""
import json
import re
import sys

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

source = open(sys.path[0] + "/../kernel/contrib.go").read()
names = set(re.findall(r'^\t\{"(\w+)",', source, re.M))


def param(p):
    r = {"name": p.name, "type_str": p.typeStr}
    option = str(p.option).split(".")[-1].lower()
    if option != "single":
        r["option"] = option
        if option == "variadic" and not p.isHomogeneous:
            r["homogeneous"] = False
    return r


def attribute(a):
    r = {"name": a.name, "type": str(a.type).split(".")[-1]}
    if a.required:
        r["required"] = True
    if a._default_value:
        v = onnx.helper.get_attribute_value(onnx.AttributeProto.FromString(a._default_value))
        r["default"] = v.decode() if isinstance(v, bytes) else float(f"{v:.9g}") if isinstance(v, float) else v
    return r


ops = []
for s in state.get_all_operator_schema():
    if s.domain != "com.microsoft" or s.name not in names:
        continue
    ops.append({
        "domain": s.domain, "name": s.name, "since_version": s.since_version,
        "min_input": s.min_input, "max_input": s.max_input, "min_output": s.min_output, "max_output": s.max_output,
        "inputs": [param(p) for p in s.inputs], "outputs": [param(p) for p in s.outputs],
        "attributes": [attribute(a) for _, a in sorted(s.attributes.items())],
        "type_constraints": [{"param": t.type_param_str, "types": sorted(t.allowed_type_strs)} for t in s.type_constraints],
        "deprecated": s.deprecated,
    })
missing = names - {o["name"] for o in ops}
if missing:
    sys.exit(f"ONNX Runtime {onnxruntime.__version__} has no schema of {', '.join(sorted(missing))}")
ops.sort(key=lambda o: o["name"])
rows = ",\n".join(json.dumps(o, separators=(",", ":")) for o in ops)
print(f'{{"onnxruntime_version":"{onnxruntime.__version__}","ops":[\n{rows}\n]}}')
