"""Writes the models of transformers.txtar in the arithmetic of torch.onnx: BERT and ViT of one layer with random weights.

    python passes/all/testdata/_gen/transformers.py DIR     # writes DIR/*.onnx; onnxopt -O0 --format text prints them

Needs onnx and numpy.
"""
import sys

import numpy as np
import onnx
from onnx import helper as h, numpy_helper

N = h.make_node
rng = np.random.default_rng(0)


class Graph:
    def __init__(s,opset): s.n=[]; s.i={}; s.k=0; s.opset=opset
    def c(s,v):
        s.k+=1; nm=f'c{s.k}'; s.i[nm]=np.asarray(v); return nm
    def op(s,t,ins,**a):
        s.k+=1; o=f'v{s.k}'; s.n.append(N(t,ins,[o],**a)); return o
    def w(s,*sh): return s.c((rng.standard_normal(sh)*0.05).astype(np.float32))
    def ln(s,x,H):
        g=s.c(np.ones(H,np.float32)+.1*rng.standard_normal(H).astype(np.float32)); b=s.w(H)
        if s.opset>=17: return s.op('LayerNormalization',[x,g,b],axis=-1,epsilon=1e-3)
        m=s.op('ReduceMean',[x],axes=[-1]); d=s.op('Sub',[x,m]); p=s.op('Pow',[d,s.c(np.float32(2))]); v=s.op('ReduceMean',[p],axes=[-1])
        e=s.op('Add',[v,s.c(np.float32(1e-3))]); q=s.op('Sqrt',[e]); y=s.op('Div',[d,q]); y=s.op('Mul',[y,g]); return s.op('Add',[y,b])
    def lin(s,x,a,b): return s.op('Add',[s.w(b),s.op('MatMul',[x,s.w(a,b)])])
    def gelu(s,x):
        d=s.op('Div',[x,s.c(np.float32(2**.5))]); e=s.op('Erf',[d]); a=s.op('Add',[e,s.c(np.float32(1))]); y=s.op('Mul',[x,a]); return s.op('Mul',[y,s.c(np.float32(.5))])
    def heads(s,x,Hn,D,perm):
        return s.op('Transpose',[s.op('Reshape',[x,s.c(np.array([0,0,Hn,D],np.int64))])],perm=perm)
    def attn(s,x,H,Hn,mask=None,packed=False):
        D=H//Hn
        if packed:
            r=s.op('Reshape',[s.lin(x,H,3*H),s.c(np.array([0,0,3,Hn,D],np.int64))]); t=s.op('Transpose',[r],perm=[2,0,3,1,4])
            q,k,v=[s.op('Gather',[t,s.c(np.array(i,np.int64))],axis=0) for i in range(3)]; k=s.op('Transpose',[k],perm=[0,1,3,2])
        else:
            q=s.heads(s.lin(x,H,H),Hn,D,[0,2,1,3]); k=s.heads(s.lin(x,H,H),Hn,D,[0,2,3,1]); v=s.heads(s.lin(x,H,H),Hn,D,[0,2,1,3])
        sc=s.op('Div',[s.op('MatMul',[q,k]),s.c(np.float32(D**.5))])
        if mask: sc=s.op('Add',[sc,mask])
        o=s.op('MatMul',[s.op('Softmax',[sc],axis=-1),v]); o=s.op('Reshape',[s.op('Transpose',[o],perm=[0,2,1,3]),s.c(np.array([0,0,H],np.int64))])
        return s.lin(o,H,H)
def bert(opset,B,S,L=1,H=8,Hn=2):
    g=Graph(opset)
    x=g.op('Add',[g.op('Gather',[g.w(10,H),'ids']),g.op('Gather',[g.w(2,H),'types'])]); x=g.ln(x,H)
    m=g.op('Cast',[g.op('Unsqueeze',['mask',g.c(np.array([1,2],np.int64))])] if opset>=13 else [g.op('Unsqueeze',['mask'],axes=[1,2])],to=1)
    m=g.op('Mul',[g.op('Sub',[g.c(np.float32(1)),m]),g.c(np.float32(-10000))])
    for _ in range(L):
        x=g.ln(g.op('Add',[g.attn(x,H,Hn,m),x]),H); x=g.ln(g.op('Add',[g.lin(g.gelu(g.lin(x,H,4*H)),4*H,H),x]),H)
    g.n.append(N('Identity',[x],['out']))
    return g,[h.make_tensor_value_info(n,7,[B,S]) for n in('ids','types','mask')]
def vit(opset,B,S,L=1,H=8,Hn=2,packed=True):
    g=Graph(opset); x='x'
    for _ in range(L):
        x=g.op('Add',[x,g.attn(g.ln(x,H),H,Hn,packed=packed)]); x=g.op('Add',[x,g.lin(g.gelu(g.lin(g.ln(x,H),H,4*H)),4*H,H)])
    x=g.ln(x,H); g.n.append(N('Identity',[x],['out']))
    return g,[h.make_tensor_value_info('x',1,[B,S,H])]

MODELS = {
    "bert-12": bert(12, "B", "S"), "bert-17": bert(17, "B", "S"),
    "vit-14": vit(14, "B", "S"), "vit-23": vit(23, "B", "S", packed=False),
}
for name, (g, inputs) in MODELS.items():
    hidden = [h.make_tensor_value_info("out", 1, ["B", "S", 8])]
    graph = h.make_graph(g.n, "main", inputs, hidden, [numpy_helper.from_array(v.round(3) if v.size > 1 and v.dtype == np.float32 else v, k) for k, v in g.i.items()])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", g.opset)], ir_version=8), f"{sys.argv[1]}/{name}.onnx")
